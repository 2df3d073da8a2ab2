"""`ctckit.reference` as a backend: any device, by autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ctckit import reference
from ctckit.backends import LossOptions
from ctckit.lattice import Lattice, tighten, validate

_AUTOGRAD: Any = torch._C.DispatchKey.AutogradFunctionality
_above: Any = torch._C._SetExcludeDispatchKeyGuard  # noqa: SLF001  # torch has no public name for it

empty_like = torch.empty_like
best_graph_paths = reference.best_graph_paths
sample_graph_paths = reference.sample_graph_paths
graph_posteriors = reference.graph_posteriors


def loss(emissions: Tensor, lattice: Lattice, options: LossOptions, gradient: Tensor | None) -> Tensor:
    """See `ctckit.backends.Backend.loss`."""
    lattice = _checked(emissions, lattice)
    if gradient is None:
        with torch.no_grad():
            return reference.reduce(
                reference.ctc(emissions, lattice, logits=options.logits),
                lattice,
                options.reduction,
                options.zero_infinity,
            )
    # Inside the operator of a traced graph the dispatcher skips autograd, which is needed here.
    with _above(_AUTOGRAD, False), torch.enable_grad():
        x = emissions.detach().requires_grad_()
        nll = reference.ctc(x, lattice, logits=options.logits)
        result = reference.reduce(nll, lattice, options.reduction, options.zero_infinity)
        # Infinite losses have the derivative 0, whether they count or not.
        (derivative,) = torch.autograd.grad((result if options.mean_gradient else nll).sum(), x)
    gradient.copy_(derivative)
    return result.detach()


def scale_(gradient: Tensor, scale: Tensor) -> Tensor:
    """See `ctckit.backends.Backend.scale_`."""
    return gradient.mul_(scale)


def posteriors(emissions: Tensor, lattice: Lattice, *, logits: bool, per_state: bool) -> Tensor:
    """See `ctckit.backends.Backend.posteriors`."""
    with torch.no_grad():
        lattice = _checked(emissions, lattice)
        per_class, states = reference.posteriors(emissions, lattice, logits=logits)
        return (states if per_state else per_class).to(emissions.dtype)


def path_occupancy(emissions: Tensor, lattice: Lattice, states: Tensor, *, logits: bool) -> Tensor:
    """See `ctckit.backends.Backend.path_occupancy`."""
    return reference.at_states(posteriors(emissions, lattice, logits=logits, per_state=True), states)


def best_path(log_probs: Tensor, lattice: Lattice) -> reference.BestPath:
    """See `ctckit.backends.Backend.best_path`."""
    validate(lattice, log_probs.shape[0], log_probs.shape[2])  # there is no answer for an invalid item
    return reference.best_path(log_probs, tighten(lattice))


def _checked(emissions: Tensor, lattice: Lattice) -> Lattice:
    """Check values where that needs no device sync; elsewhere invalid items become NaN."""
    if emissions.device.type == "cpu":
        validate(lattice, emissions.shape[0], emissions.shape[2])
        return tighten(lattice)
    return lattice
