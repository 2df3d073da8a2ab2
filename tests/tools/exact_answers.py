"""Results of the library, exact float64 answers, and the errors between them.

Enumeration judges the reference (`oracle`, in test_reference.py), and here the reference judges: in float64, and
without autograd, so that inputs of tens of thousands of frames fit into memory.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import ctckit
from ctckit import reference
from ctckit.lattice import gate, tighten
from tests.tools.cases import Arguments
from tests.tools.core_memory import fill_core_memory

# The error of one rounding, of a loss near 10 and of a probability. Half types are computed in float32, and only the
# gradient is rounded to them. Float32 adds up some roundings of emissions; float64 those of the reference's logarithms.
LOSS_ERROR = {torch.float64: 1e-13, torch.float32: 1e-6, torch.float16: 1e-6, torch.bfloat16: 1e-6}
GRADIENT_ERROR = {torch.float64: 1e-13, torch.float32: 1e-6, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}

dtypes = pytest.mark.parametrize("dtype", LOSS_ERROR, ids=lambda dtype: str(dtype).removeprefix("torch."))
"""Runs a test in every dtype."""


class Result(NamedTuple):
    losses: Tensor  # (N,)
    gradient: Tensor  # (T, N, C): of the sum of the losses, by the emissions


def run(arguments: Arguments, *, logits: bool, batch_first: bool = False) -> Result:
    """Losses and gradient of a call."""
    x, targets, input_lengths, target_lengths, blank = arguments
    x = x.detach().requires_grad_()  # with its own memory and strides
    function = ctckit.ctc_loss_with_logits if logits else ctckit.ctc_loss
    losses = function(x, targets, input_lengths, target_lengths, blank, "none", batch_first=batch_first)
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    return Result(losses.detach(), gradient)


def run_on_dirty_memory(arguments: Arguments, *, logits: bool) -> Result:
    """Losses and gradient, which must be the same bits with scratch memory filled with zeros or with NaN."""
    fill_core_memory(0)
    on_zeros = run(arguments, logits=logits)
    fill_core_memory(0xFF)
    result = run(arguments, logits=logits)
    for one, other in zip(on_zeros, result, strict=True):
        assert same_bits(one, other), "the result depends on what scratch memory held"
    return result


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers, where NaN equals NaN."""
    return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(0), other.nan_to_num(0))


class Answer(NamedTuple):
    """The right results, in float64."""

    losses: Tensor
    gradient: Tensor
    by_class: Tensor  # (T, N, C) occupancy
    by_state: Tensor  # (T, N, 2S + 1), S being the longest target's length


def exact(arguments: Arguments, *, logits: bool) -> Answer:
    """The answer for the numbers that the emissions hold in their own dtype."""
    x, lattice, _ = gate(arguments.emissions.detach().double(), *arguments[1:])
    with torch.no_grad():
        losses = reference.ctc(x, tighten(lattice), logits=logits)
        by_class, by_state = reference.posteriors(x, tighten(lattice), logits=logits)
    inside = torch.arange(x.shape[0])[:, None, None] < lattice.input_lengths[:, None]
    possible = inside & ~losses.isinf()[:, None]
    share = torch.where(inside, x, 0.0).softmax(2) if logits else torch.zeros_like(by_class)
    gradient = torch.where(possible, share - by_class, 0.0)
    gradient = torch.where(inside & losses.isnan()[:, None], torch.nan, gradient)
    return Answer(losses, gradient, by_class, by_state)


class Errors(NamedTuple):
    """The largest errors of all items."""

    loss: float  # relative
    gradient: float  # |g - exact| / |exact|, in the Euclidean norm over the item


def errors(actual: Result, expected: Answer) -> Errors:
    """The errors of a result, less the rounding to the smallest numbers of its dtype.

    For a confident model, loss and gradient are near 0. They are differences of numbers near 1 (softmax and occupancy,
    logs of sums near 1), each rounded to 1e-16, frame by frame. Numbers below the range of float16 are 0 in float16.
    """
    finite = expected.losses.isfinite()
    assert finite.any(), "nothing to compare"
    assert torch.equal(actual.losses.isfinite(), finite), f"losses {actual.losses}, expected {expected.losses}"
    assert torch.equal(actual.losses.isnan(), expected.losses.isnan())
    assert actual.gradient[:, finite].isfinite().all(), "a gradient that is no number"
    frames, _, classes = expected.gradient.shape
    floor = 1e-15
    losses = expected.losses[finite]
    off = (actual.losses[finite].double() - losses).abs() - floor * frames
    smallest = 2.0**-25 if actual.gradient.dtype == torch.float16 else floor
    right = expected.gradient[:, finite]
    gradient = (actual.gradient[:, finite].double() - right).norm(dim=(0, 2)) - smallest * (frames * classes) ** 0.5
    return Errors(
        float((off / losses.abs().clamp(min=1e-300)).clamp(min=0).max()),
        float((gradient / right.norm(dim=(0, 2)).clamp(min=1e-300)).clamp(min=0).max()),
    )
