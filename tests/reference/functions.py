"""Losses, occupancies and gradients of the reference for a case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ctckit import reference
from ctckit.lattice import gate
from tests.tools.cases import FORMS, Case

if TYPE_CHECKING:
    from collections.abc import Callable

# Float64 rounding of sums over some ten frames of numbers near 1.
EXACT = 1e-13

MIXED = Case("mixed", 6, 4, ((1, 2), (3, 3, 1), (), (2, 2, 2, 2), (1,)), (6, 5, 4, 6, 2))
"""Several paths, repeats, no label, infeasible, unequal lengths: small enough for second derivatives."""


def loss_of(case: Case, *, logits: bool, form: str = "padded") -> Callable[[Tensor], Tensor]:
    """The losses of a case as a function of the emissions."""
    _, *others = FORMS[form](case.padded(case.logits()), case)

    def function(x: Tensor) -> Tensor:
        x, lattice, _ = gate(x, *others)
        return reference.ctc(x, lattice, logits=logits)

    return function


def posteriors_of(case: Case, x: Tensor, *, logits: bool) -> tuple[Tensor, Tensor]:
    x, lattice, _ = gate(*case.padded(x))
    return reference.posteriors(x, lattice, logits=logits)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The values, and the gradient of their sum."""
    x = x.detach().requires_grad_()
    values = function(x)
    (slope,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), slope
