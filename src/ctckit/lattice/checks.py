"""Every rule for the values of a batch, and the messages of its errors.

`ctckit.lattice.arguments` checks types and shapes; this module checks values, on the CPU. The C++ core checks the same
values itself and takes the messages from here.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ctckit.errors import ArgumentValueError
from ctckit.lattice.tensor_kinds import in_memory
from ctckit.lattice.topology import PADDING, Lattice, frames_needed, padded_labels

__all__ = [
    "Problem",
    "bad_label",
    "bad_length",
    "faults",
    "is_invalid",
    "item_name",
    "no_path",
    "too_few_frames",
    "validate",
    "validate_input_lengths",
]

Integers = TypeVar("Integers", Tensor, npt.NDArray[Any], int)


class Problem(NamedTuple):
    """A problem of one item: its kind, and a message with a remedy."""

    item: int
    """The item of the batch, from 0; -1 for a problem of the whole batch."""
    kind: str
    """'infeasible': the target needs more frames than there are. 'impossible_frame': in one frame all classes of the
    target are at -inf. 'non_finite': NaN or +inf among the emissions. For an invalid item: 'input_length',
    'target_length', 'target_sum', 'label' or 'blank_label'."""
    message: str
    """The problem and a remedy, in words."""


def item_name(item: int, *, batched: bool = True) -> str:
    """Name an item in a message: by its number, if there is a batch.

    >>> item_name(3), item_name(0, batched=False)
    ('item 3', 'the item')
    """
    return f"item {item}" if batched else "the item"


def bad_length(lengths: Integers, bound: int) -> Integers:
    """Return where lengths are out of 0..bound, for a tensor, an array or an int."""
    return (lengths < 0) | (lengths > bound)


def bad_label(labels: Integers, classes: int, blank: int) -> Integers:
    """Return where labels are the blank or no class, for a tensor, an array or an int."""
    bad: Integers = (labels < 0) | (labels >= classes) | (labels == blank)
    return bad


def is_invalid(lattice: Lattice, frames: int, classes: int) -> Tensor:
    """(N,) bool: the items that `validate` would reject. Reads no value: no device sync, and works in traces."""
    total = lattice.labels.shape[0]  # if concatenated
    inside = torch.arange(lattice.max_target, device=lattice.labels.device) < lattice.target_lengths[:, None]
    bad: Tensor = (bad_label(padded_labels(lattice), classes, lattice.blank) & inside).any(1)
    bad = bad | bad_length(lattice.input_lengths, frames)
    bad = bad | bad_length(lattice.target_lengths, total if lattice.concatenated else lattice.max_target)
    if lattice.concatenated:
        # No single length can be blamed for a wrong sum, so all items are invalid.
        bad = bad | (lattice.target_lengths.sum() != total)
    return bad


def validate(lattice: Lattice, frames: int, classes: int) -> None:
    """Check the values of a lattice whose tensors are on the CPU.

    Args:
        lattice: the result of `gate`.
        frames: T, the number of frames of the emissions.
        classes: C, their number of classes.

    Raises:
        ArgumentValueError: for the first fault found, naming argument, item, position, value and remedy.
    """
    inputs, targets, labels = _arrays(lattice)
    width = len(labels) if lattice.concatenated else lattice.max_target
    if _within(inputs, frames) and _within(targets, width):
        if lattice.concatenated and int(targets.sum()) != len(labels):
            pass
        elif _within(labels, classes - 1) and not (labels == lattice.blank).any():
            return
        elif not lattice.concatenated:
            # Padding often looks like a bad label, so labels within the lengths are checked separately, only here.
            bad = bad_label(labels, classes, lattice.blank).reshape(len(targets), width)
            if not (bad & (np.arange(width) < targets[:, None])).any():
                return
    raise ArgumentValueError(faults(lattice, frames, classes)[0].message)


def validate_input_lengths(input_lengths: Tensor, frames: int) -> None:
    """Check input lengths, (N,) int64 on the CPU, for functions without targets.

    Raises:
        ArgumentValueError: for the first length that is not from 0 to `frames`.
    """
    problems = _bad_input_lengths(_array(input_lengths, "input_lengths"), frames)
    if problems:
        raise ArgumentValueError(problems[0].message)


def _within(values: npt.NDArray[np.int64], bound: int) -> bool:
    """Whether all values are from 0 to the bound, in one pass: read as unsigned, a negative number is huge."""
    return bool(np.maximum.reduce(values.view(np.uint64), initial=0) <= bound)


def faults(lattice: Lattice, frames: int, classes: int, *, batched: bool = True) -> list[Problem]:
    """List all problems that `validate` finds: each item's lengths, and its first bad label. Causes a device sync.

    Args:
        lattice: the result of `gate`.
        frames: T, the number of frames of the emissions.
        classes: C, their number of classes.
        batched: whether messages number the items.
    """
    inputs, targets, labels = _arrays(lattice)
    total, concatenated = len(labels), lattice.concatenated
    width = total if concatenated else lattice.max_target
    found = _bad_input_lengths(inputs, frames)
    have = f"hold {width} labels in all" if concatenated else f"have room for {width} labels per item"
    of_targets = [
        Problem(
            item,
            "target_length",
            f"target_lengths[{item}] is {targets[item]}, but targets {have}: a length must be from 0 to {width}",
        )
        for item in np.flatnonzero(bad_length(targets, width)).tolist()
    ]
    if concatenated and int(targets.sum()) != total:
        message = (
            f"target_lengths add up to {targets.sum()}, but targets is one row of {width} labels: concatenated targets "
            f"must hold exactly the labels of all items, one after another; pass padded targets as a tensor of shape "
            f"(N, S)"
        )
        of_targets.append(Problem(-1, "target_sum", message))
    if concatenated and of_targets:
        return found + of_targets  # the labels cannot be assigned to items
    found += of_targets
    offsets = lattice.offsets.cpu().numpy()
    for item, (offset, length) in enumerate(zip(offsets.tolist(), targets.tolist(), strict=True)):
        row = labels[offset : offset + max(0, min(length, width))]
        bad = np.flatnonzero(bad_label(row, classes, lattice.blank))
        if len(bad):
            position = int(bad[0])
            where = f"label {position} of {item_name(item, batched=batched)}"
            found.append(Problem(item, *_about_label(where, int(row[position]), classes, lattice.blank)))
    return found


def _bad_input_lengths(lengths: npt.NDArray[np.int64], frames: int) -> list[Problem]:
    return [
        Problem(
            item,
            "input_length",
            f"input_lengths[{item}] is {lengths[item]}, but the input has {frames} frames: a length must be from 0 to "
            f"{frames}",
        )
        for item in np.flatnonzero(bad_length(lengths, frames)).tolist()
    ]


def _about_label(where: str, value: int, classes: int, blank: int) -> tuple[str, str]:
    """Return the kind and the message of a bad label."""
    where = f"targets: {where} is {value}"
    if value == blank:
        return "blank_label", (
            f"{where}, the blank, but the blank is not part of a target: leave it out (the loss inserts blanks "
            f"itself), or pass the class of the blank as blank="
        )
    if value == PADDING:
        return "label", (
            f"{where}, which marks padding, but {PADDING} must not stand before or among an item's labels: put the "
            f"labels first, and count only labels in target_lengths"
        )
    remedy = f"pad with {PADDING}, or beyond the target_lengths" if value < 0 else "give the input as many classes"
    return "label", f"{where}, but the input has classes 0 to {classes - 1}: correct the label, or {remedy}"


def too_few_frames(lattice: Lattice, *, batched: bool = True) -> list[Problem]:
    """List the items that have fewer frames than their targets need. Causes a device sync."""
    needed, lengths, labels = frames_needed(lattice), lattice.input_lengths, lattice.target_lengths
    items = torch.nonzero(needed > lengths)[:, 0].tolist()
    return [
        no_path(item, int(lengths[item]), int(needed[item]), labels=int(labels[item]), batched=batched)
        for item in items
    ]


def no_path(item: int, frames: int, needed: int, *, labels: int | None = None, batched: bool = True) -> Problem:
    """Make the problem of an item that no path fits: it has too few frames, or -inf bars all paths.

    Args:
        item: the number of the item.
        frames: its frames.
        needed: the frames that it needs.
        labels: the labels of its target; None for a pattern.
        batched: whether the message numbers the item.

    >>> print(no_path(0, 3, 4, labels=3).message)
    item 0 needs 4 frames (3 labels, and a blank between 1 pair of equal neighbours), but has 3: lengthen the input, subsample less, or leave the item out
    """  # noqa: E501  # the example's output is one line
    name = item_name(item, batched=batched)
    if needed <= frames:
        return Problem(
            item,
            "infeasible",
            f"log-probabilities of -inf bar every path of {name} through its {_count(frames, 'frame')}: do not mask "
            f"classes that it needs",
        )
    parts = ""
    if labels is not None:
        repeats = needed - labels
        pairs = f", and a blank between {_count(repeats, 'pair')} of equal neighbours" if repeats else ""
        parts = f" ({_count(labels, 'label')}{pairs})"
    message = (
        f"{name} needs {_count(needed, 'frame')}{parts}, but has {frames}: lengthen the input, subsample less, or "
        f"leave the item out"
    )
    return Problem(item, "infeasible", message)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _arrays(lattice: Lattice) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    labels = _array(lattice.labels, "targets").ravel()
    return _array(lattice.input_lengths, "input_lengths"), _array(lattice.target_lengths, "target_lengths"), labels


def _array(tensor: Tensor, name: str) -> npt.NDArray[np.int64]:
    return in_memory(tensor.cpu(), name).resolve_neg().numpy()
