"""Find infeasible and invalid items of a batch: `feasible` and `check`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ctckit.errors import ArgumentValueError
from ctckit.lattice.arguments import gate, gate_targets
from ctckit.lattice.checks import Problem, faults, item_name, too_few_frames
from ctckit.lattice.lengths import Lengths, as_int, lengths_of
from ctckit.lattice.tensor_kinds import as_node, present, require_memory
from ctckit.lattice.topology import Lattice, frames_needed, padded_labels, tighten

__all__ = ["Problem", "check", "feasible"]


@as_node
def feasible(targets: Tensor, input_lengths: Lengths, target_lengths: Lengths = None, blank: int = 0) -> Tensor:
    """Return which targets fit into their frames: labels + pairs of equal neighbours <= frames.

    Two equal labels need a blank between them, or they would be merged. So "aab" needs four frames, "abc" three. An
    infeasible target has the loss inf and the gradient 0.

    Args:
        targets: as for `ctckit.ctc_loss`.
        input_lengths: the frames per item of the loss, that is after all subsampling layers.
        target_lengths: as for `ctckit.ctc_loss`.
        blank: as for `ctckit.ctc_loss`.

    Returns:
        (N,) bool, on the device of the targets, without a device sync. For (S,) targets of one item: (1,).

    Raises:
        ArgumentTypeError: as `ctckit.ctc_loss`.
        ArgumentValueError: as `ctckit.ctc_loss`, for shapes.

    Example:
        >>> import torch, ctckit
        >>> ctckit.feasible(torch.tensor([[1, 1, 2], [1, 2, 3]]), input_lengths=[3, 3], target_lengths=[3, 3])
        tensor([False,  True])
    """
    lattice, _ = _lattice_without_emissions(targets, input_lengths, target_lengths, blank)
    return frames_needed(lattice) <= lattice.input_lengths


@as_node
def check(
    emissions: Tensor | None,
    targets: Tensor,
    input_lengths: Lengths = None,
    target_lengths: Lengths = None,
    blank: int = 0,
    *,
    batch_first: bool = False,
) -> list[Problem]:
    """List the items that are invalid or cannot be aligned, with the reason: before training, or after a NaN.

    Reads all values, so it causes a device sync on a GPU.

    Args:
        emissions: log-probabilities or logits as for the loss, or None to check targets and lengths alone.
        targets: as for `ctckit.ctc_loss`.
        input_lengths: as for `ctckit.ctc_loss`; needed if `emissions` is None.
        target_lengths: as for `ctckit.ctc_loss`.
        blank: as for `ctckit.ctc_loss`.
        batch_first: whether the batch is the first dimension of `emissions`.

    Returns:
        A list of `Problem`, sorted by item; empty if there is none.

    Raises:
        ArgumentTypeError: for an argument of the wrong type.
        ArgumentValueError: for shapes that do not fit together.

    Example:
        >>> import torch, ctckit
        >>> problems = ctckit.check(None, torch.tensor([[1, 1, 2]]), input_lengths=[3], target_lengths=[3])
        >>> print(problems[0].message)
        item 0 needs 4 frames (3 labels, and a blank between 1 pair of equal neighbours), but has 3: lengthen the input, subsample less, or leave the item out
    """  # noqa: E501  # the example's output is one line
    if emissions is None:
        lattice, batched = _lattice_without_emissions(targets, input_lengths, target_lengths, blank, needs_numbers=True)
        require_memory(lattice.labels, "targets")
        x, frames, classes = None, torch.iinfo(torch.int64).max, torch.iinfo(torch.int64).max
    else:
        x, lattice, batched = gate(
            emissions,
            targets,
            input_lengths,
            target_lengths,
            blank,
            batch_first=batch_first,
            name="emissions",
            needs_numbers=True,
        )
        require_memory(x, "emissions")
        frames, classes = x.shape[0], x.shape[2]
    lattice = tighten(lattice.cpu())
    problems = faults(lattice, frames, classes, batched=batched)
    invalid = {problem.item for problem in problems}
    if -1 in invalid:
        return problems
    problems += [p for p in too_few_frames(lattice, batched=batched) if p.item not in invalid]
    if x is not None:
        problems += _non_finite(x, lattice, invalid, batched=batched)
    return sorted(problems, key=lambda problem: problem.item)


def _lattice_without_emissions(
    targets: Any, input_lengths: Lengths, target_lengths: Lengths, blank: int, *, needs_numbers: bool = False
) -> tuple[Lattice, bool]:
    """Make the lattice of targets without emissions; return it and whether there is a batch."""
    if input_lengths is None:
        raise ArgumentValueError(
            "input_lengths is None, but without emissions the number of frames is unknown: pass input_lengths"
        )
    blank = as_int(blank, "blank")
    if blank < 0:
        raise ArgumentValueError(f"blank is {blank}, but classes are numbered from 0: pass the class of the blank")
    if isinstance(targets, Tensor) and targets.ndim == 2:
        items = targets.shape[0]
    elif isinstance(input_lengths, Tensor):
        items = input_lengths.numel()
    else:
        items = len(input_lengths) if isinstance(input_lengths, (tuple, list)) else 1
    # One row of labels without a length is the target of one item.
    batched = not (isinstance(targets, Tensor) and targets.ndim == 1 and target_lengths is None and items == 1)
    labels, lengths, max_target = gate_targets(
        targets, target_lengths, items, batched=batched, beside=None, name="input_lengths", needs_numbers=needs_numbers
    )
    inputs, _ = lengths_of(input_lengths, "input_lengths", items, labels.device, Tensor, needs_numbers)
    labels, inputs = present(labels, "targets"), present(inputs, "input_lengths")
    lengths = present(lengths, "target_lengths")
    return Lattice(labels, inputs, lengths, max_target, blank), batched


def _non_finite(x: Tensor, lattice: Lattice, invalid: set[int], *, batched: bool) -> list[Problem]:
    problems = []
    named = padded_labels(lattice)
    for item, length in enumerate(lattice.input_lengths.tolist()):
        if item in invalid:  # its lengths or labels may be out of bounds
            continue
        name = item_name(item, batched=batched)
        values = x[:length, item].detach()
        bad = (values.isnan() | (values == torch.inf)).nonzero()
        if len(bad):
            frame, c = bad[0].tolist()
            place = f"[{frame}, {item}, {c}] (frame, item, class)" if batched else f"[{frame}, {c}] (frame, class)"
            message = (
                f"emissions{place} is {float(values[frame, c])}, the first of {len(bad)} such values in {name}: look "
                f"for an overflow or a division by zero in the model"
            )
            problems.append(Problem(item, "non_finite", message))
            continue
        labels = named[item, : int(lattice.target_lengths[item])].unique()
        states = torch.cat((labels, labels.new_tensor([lattice.blank])))
        dead = (values[:, states.to(values.device)] == -torch.inf).all(1).nonzero()
        if len(dead):
            frame = int(dead[0])
            message = (
                f"in frame {frame} of {name} the blank and all labels of its target are at -inf, so that its loss "
                f"is infinite: do not mask classes that the target needs"
            )
            problems.append(Problem(item, "impossible_frame", message))
    return problems
