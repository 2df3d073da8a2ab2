"""The occupancy of classes and states: their posterior probability in each frame."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ctckit import reference
from ctckit.backends import backend_for
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import Lengths, gate
from ctckit.lattice.tensor_kinds import as_node

__all__ = ["posteriors"]


@as_node
def posteriors(
    emissions: Tensor,
    targets: Tensor,
    input_lengths: Lengths = None,
    target_lengths: Lengths = None,
    blank: int = 0,
    *,
    logits: bool = False,
    batch_first: bool = False,
    per_state: bool = False,
    states: Tensor | None = None,
) -> Tensor:
    r"""Compute the occupancy: the probability, given the target, that frame t belongs to a class or a state.

    .. math:: \gamma(t, c) = \sum_{s: l(s) = c} \frac{\alpha(t, s)\, \beta(t, s)}{p(\text{target})}

    (Graves et al. 2006, equations 14 and 15.) It is minus the derivative of `ctckit.ctc_loss` by the log-probabilities.
    It locates the target's labels: label number i, from 0, is state 2i + 1.

    Args:
        emissions: (T, N, C), or (N, T, C) if `batch_first`, or (T, C) for one item without a batch: log-probabilities,
            or logits.
        targets: as for `ctckit.ctc_loss`.
        input_lengths: as for `ctckit.ctc_loss`.
        target_lengths: as for `ctckit.ctc_loss`.
        blank: as for `ctckit.ctc_loss`.
        logits: whether to take the log_softmax of the emissions first.
        batch_first: whether the batch is the first dimension of `emissions`, and of the result.
        per_state: whether to return the occupancy of each state instead of each class.
        states: one state per frame, such as those of a path: (N, T), or (T,) without a batch, whatever `batch_first`.
            Integers from 0 to 2S, or negative for no state. The result then holds only their occupancy. On the
            CPU no table of all states is stored.

    Returns:
        (T, N, C) probabilities, in the layout and dtype of the emissions. With `per_state` (T, N, 2S + 1), for the
        states blank, label 1, blank, label 2, ..., blank; S is the longest target that the shapes admit. With `states`
        (N, T), or (T,): the probabilities of these states, and 0 for no state.

        They sum to 1 in every frame. They are 0 beyond an item's frames or states, and for an item whose target cannot
        be aligned. The result is a constant to autograd; `ctckit.reference.posteriors` can be differentiated.

    Raises:
        ArgumentTypeError: as `ctckit.ctc_loss`; for `states` that are not integers.
        ArgumentValueError: as `ctckit.ctc_loss`; for `states` of another shape or device, or with `per_state`.

    Example:
        >>> import torch, ctckit
        >>> emissions = torch.tensor([[0.0, 5.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 5.0]])  # says: 1, blank, 2
        >>> occupancy = ctckit.posteriors(emissions, torch.tensor([1, 2]), logits=True, per_state=True)
        >>> occupancy.argmax(1)  # state 1 is the first label, state 3 the second
        tensor([1, 2, 3])
    """
    emissions, lattice, batched = gate(
        emissions,
        targets,
        input_lengths,
        target_lengths,
        blank,
        batch_first=batch_first,
        name="emissions",
        needs_numbers=not torch._C._are_functorch_transforms_active(),
    )
    if states is not None:
        rows = _check_states(states, emissions, batched=batched, per_state=per_state)
        if torch._C._are_functorch_transforms_active():
            picked = reference.at_states(reference.posteriors(emissions, lattice, logits=logits)[1], rows)
            picked = picked.to(emissions.dtype)
        else:
            picked = backend_for(emissions.device).path_occupancy(emissions.detach(), lattice, rows, logits=logits)
        return picked if batched else picked[0]
    if torch._C._are_functorch_transforms_active():
        per_class, by_state = reference.posteriors(emissions, lattice, logits=logits)
        result = (by_state if per_state else per_class).to(emissions.dtype)
    else:
        result = backend_for(emissions.device).posteriors(
            emissions.detach(), lattice, logits=logits, per_state=per_state
        )
    if not batched:
        return result[:, 0]
    return result.transpose(0, 1) if batch_first else result


def _check_states(states: Any, emissions: Tensor, *, batched: bool, per_state: bool) -> Tensor:
    """Return (N, T) states."""
    if per_state:
        raise ArgumentValueError(
            "per_state and states are both given, but one is for all states and the other for some"
        )
    if not isinstance(states, Tensor) or states.dtype not in (torch.int64, torch.int32):
        kind = f"has dtype {states.dtype}" if isinstance(states, Tensor) else f"is a {type(states).__name__}"
        raise ArgumentTypeError(f"states {kind}, but must be a tensor of int64 or int32")
    frames, items = emissions.shape[:2]
    expected = (items, frames) if batched else (frames,)
    if tuple(states.shape) != expected:
        raise ArgumentValueError(
            f"states has shape {tuple(states.shape)}, but must have one state per frame, {expected}"
        )
    if states.device != emissions.device:
        raise ArgumentValueError(
            f"states is on {states.device}, but the emissions are on {emissions.device}: move one of them"
        )
    return states if batched else states[None]
