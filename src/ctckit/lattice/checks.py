"""What can be wrong with the values of a batch, found and put in words.

Types and shapes are checked by `ctckit.lattice.gate`; here are the faults that only values show, on the CPU. The core
finds the same ones by itself, and takes the words from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ctckit.errors import ArgumentValueError
from ctckit.lattice.tensor_kinds import in_memory

if TYPE_CHECKING:
    from ctckit.lattice import Lattice

Integers = TypeVar("Integers", Tensor, npt.NDArray[Any])

PADDING = -100
"""Marks "no label" in padded targets that come without lengths."""

FAULT_KINDS = ("input_length", "target_length", "label", "blank_label", "target_sum")
"""What can be wrong with values, in the order in which the core numbers the ones it knows, from 1."""


class Fault(NamedTuple):
    """One invalid value of a batch."""

    kind: str
    """One of `FAULT_KINDS`."""
    item: int
    """The item, from 0; -1 if the batch as a whole is at fault ("target_sum")."""
    position: int
    """The position of the label within its target, from 0; -1 if a length is at fault."""
    value: int
    """The value found."""
    message: str
    """The same in words, with the remedy."""


def bad_length(lengths: Integers, bound: int) -> Integers:
    """Of tensors or arrays alike: where a length is impossible."""
    return (lengths < 0) | (lengths > bound)


def bad_label(labels: Integers, classes: int, blank: int) -> Integers:
    """Of tensors or arrays alike: where a label is no class, or the blank."""
    bad: Integers = (labels < 0) | (labels >= classes) | (labels == blank)
    return bad


def validate(lattice: Lattice, frames: int, classes: int) -> None:
    """Check the values of a lattice whose tensors are on the CPU.

    Args:
        lattice: what `gate` returned.
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
            # Padding often looks like a bad label: only now is it worth asking which labels are within the lengths.
            bad = bad_label(labels, classes, lattice.blank).reshape(len(targets), width)
            if not (bad & (np.arange(width) < targets[:, None])).any():
                return
    raise ArgumentValueError(faults(lattice, frames, classes)[0].message)


def _within(values: npt.NDArray[np.int64], bound: int) -> bool:
    """Whether all values are from 0 to the bound, in one pass: as an unsigned number, a negative one is huge."""
    return bool(np.maximum.reduce(values.view(np.uint64), initial=0) <= bound)


def faults(lattice: Lattice, frames: int, classes: int) -> list[Fault]:
    """All that `validate` objects to: per item its lengths and its first bad label. Waits for a GPU."""
    inputs, targets, labels = _arrays(lattice)
    total, blank, concatenated = len(labels), lattice.blank, lattice.concatenated
    width = total if concatenated else lattice.max_target
    found: list[Fault] = []

    def add(kind: str, item: int, position: int, value: int) -> None:
        message = describe_fault(
            kind, item, position, value, frames=frames, classes=classes, width=width, concatenated=concatenated
        )
        found.append(Fault(kind, item, position, value, message))

    for item in np.flatnonzero(bad_length(inputs, frames)).tolist():
        add("input_length", item, -1, int(inputs[item]))
    for item in np.flatnonzero(bad_length(targets, width)).tolist():
        add("target_length", item, -1, int(targets[item]))
    if concatenated and int(targets.sum()) != total:
        add("target_sum", -1, -1, int(targets.sum()))
    if concatenated and any(fault.kind != "input_length" for fault in found):
        return found  # nobody can tell whose labels are whose
    offsets = lattice.offsets.cpu().numpy()
    for item, (offset, length) in enumerate(zip(offsets.tolist(), targets.tolist(), strict=True)):
        row = labels[offset : offset + max(0, min(length, width))]
        bad = np.flatnonzero(bad_label(row, classes, blank))
        if len(bad):
            position = int(bad[0])
            add("blank_label" if row[position] == blank else "label", item, position, int(row[position]))
    return found


def describe_fault(
    kind: str,
    item: int,
    position: int,
    value: int,
    *,
    frames: int,
    classes: int,
    width: int,
    concatenated: bool,
) -> str:
    """Put a fault in words: the only place that does, whoever found it.

    Args:
        kind: one of `FAULT_KINDS`; the rest as in `Fault`.
        item: the item at fault.
        position: the position of the label.
        value: the value found.
        frames: T, the number of frames of the input.
        classes: C, its number of classes.
        width: labels there are: per item if padded, in all if concatenated.
        concatenated: whether the targets are concatenated.
    """
    if kind == "input_length":
        return (
            f"input_lengths[{item}] is {value}, but the input has {frames} frames: a length must be from 0 to {frames}"
        )
    if kind == "target_length":
        have = f"hold {width} labels in all" if concatenated else f"have room for {width} labels per item"
        return f"target_lengths[{item}] is {value}, but targets {have}: a length must be from 0 to {width}"
    if kind == "target_sum":
        return (
            f"target_lengths add up to {value}, but targets is one row of {width} labels: concatenated targets must "
            f"hold exactly the labels of all items, one after another; pass padded targets as a tensor of shape (N, S)"
        )
    where = f"targets: label {position} of item {item} is {value}"
    if kind == "blank_label":
        return (
            f"{where}, the blank, but the blank is not part of a target: leave it out (it is put between the labels by "
            f"itself), or name the class that is the blank with blank="
        )
    if value == PADDING:
        return (
            f"{where}, which marks padding, but {PADDING} must not stand before or among an item's labels: put the "
            f"labels first, and give as target_lengths only the number of labels"
        )
    remedy = f"pad with {PADDING}, or beyond the target_lengths" if value < 0 else "give the input as many classes"
    return f"{where}, but the input has classes 0 to {classes - 1}: correct the label, or {remedy}"


def _arrays(lattice: Lattice) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    names = "targets", "input_lengths", "target_lengths"
    tensors = (in_memory(tensor.cpu(), name) for tensor, name in zip(lattice[:3], names, strict=True))
    labels, inputs, targets = (tensor.resolve_neg().numpy() for tensor in tensors)
    return inputs, targets, labels.ravel()
