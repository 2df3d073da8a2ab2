"""The topology: a batch of targets, and the states and arcs of their paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ctckit.lattice.tensor_kinds import in_memory

__all__ = ["PADDING", "Lattice", "frames_needed", "may_skip", "padded_labels", "state_labels", "tighten"]

PADDING = -100
"""Marks "no label" in padded targets that come without lengths."""


class Lattice(NamedTuple):
    """A batch of N targets: their labels and lengths, in the one form that all backends read.

    Label s (from 0) of item n is ``labels[n, s]`` if the targets are padded, ``labels[offsets[n] + s]`` if they are
    concatenated, for s < ``target_lengths[n]``. Padding between items may hold any value and is never read.
    """

    labels: Tensor
    """int64, any strides: (N, max_target), padded, or (M,), concatenated."""
    input_lengths: Tensor
    """(N,) int64, on the device of the emissions."""
    target_lengths: Tensor
    """(N,) int64, on the device of the emissions."""
    max_target: int
    """An upper bound of the target lengths, without a device sync: the width if padded, the total if concatenated."""
    blank: int
    """The class of the blank."""

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[int]], input_lengths: Tensor, blank: int) -> Lattice:
        """Make the lattice of rows of valid labels, on the CPU.

        Args:
            rows: the labels of each item.
            input_lengths: (N,) int64 on the CPU: the frames of each item.
            blank: class of the blank.

        Example:
            >>> Lattice.of_rows([[1, 2], [3]], torch.tensor([5, 4]), blank=0).labels
            tensor([[   1,    2],
                    [   3, -100]])
        """
        width = max(map(len, rows), default=0)
        padded = [[*row, *[PADDING] * (width - len(row))] for row in rows]
        labels = torch.tensor(padded, dtype=torch.int64, device="cpu").reshape(len(rows), width)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64, device="cpu")
        return cls(labels, input_lengths, lengths, width, blank)

    @property
    def concatenated(self) -> bool:
        """Whether `labels` has one dimension, (M,); then M must be the sum of `target_lengths`."""
        return self.labels.ndim == 1

    @property
    def offsets(self) -> Tensor:
        """(N,) int64: where each item's labels start in the flattened `labels`."""
        if self.concatenated:
            return self.target_lengths.cumsum(0) - self.target_lengths
        return torch.arange(self.labels.shape[0], device=self.labels.device) * self.max_target

    def contiguous(self) -> Lattice:
        """Make the tensors contiguous, without torch's negative bit; returns itself if they are."""
        labels, input_lengths, target_lengths, max_target, blank = self
        negative = labels.is_neg() or input_lengths.is_neg() or target_lengths.is_neg()
        if labels.is_contiguous() and input_lengths.is_contiguous() and target_lengths.is_contiguous() and not negative:
            return self
        labels, input_lengths, target_lengths = (t.resolve_neg().contiguous() for t in self[:3])
        return Lattice(labels, input_lengths, target_lengths, max_target, blank)

    def in_memory(self) -> Lattice:
        """Make the tensors readable by their address: copies those that are not aligned for their elements."""
        labels, input_lengths, target_lengths, max_target, blank = self
        return Lattice(
            in_memory(labels, "targets"),
            in_memory(input_lengths, "input_lengths"),
            in_memory(target_lengths, "target_lengths"),
            max_target,
            blank,
        )

    def cpu(self) -> Lattice:
        """Move the tensors to the CPU. Causes a device sync."""
        labels, input_lengths, target_lengths, max_target, blank = self
        return Lattice(labels.cpu(), input_lengths.cpu(), target_lengths.cpu(), max_target, blank)


def state_labels(labels: Tensor, blank: int) -> Tensor:
    """(..., S) labels -> (..., 2S + 1) classes of the states: blank, l[1], blank, l[2], ..., blank."""
    blanks = torch.full_like(labels, blank)
    pairs = torch.stack((blanks, labels), dim=-1).flatten(-2)
    return torch.nn.functional.pad(pairs, (0, 1), value=blank)


def may_skip(labels: Tensor, blank: int) -> Tensor:
    """(..., K) classes of states -> (..., K) bool: whether state s may be entered from s - 2.

    A skip goes from a label to a different label. (Blanks are all equal, so no skip enters a blank.)
    """
    two_before = torch.nn.functional.pad(labels, (2, 0), value=blank)[..., : labels.shape[-1]]
    differs = (labels != blank) & (labels != two_before)
    # States 0 and 1 have no state s - 2.
    return differs & (torch.arange(labels.shape[-1], device=labels.device) >= 2)


def padded_labels(lattice: Lattice) -> Tensor:
    """Return the labels as a table (N, max_target) int64, with the blank beyond each item's length."""
    column = torch.arange(lattice.max_target, device=lattice.labels.device)
    table = lattice.labels
    if lattice.concatenated:
        # Clamped, because lengths that are not validated may be out of bounds.
        table = table[(lattice.offsets[:, None] + column).clamp(0, table.shape[0] - 1)]
    return torch.where(column < lattice.target_lengths[:, None], table, lattice.blank)


def frames_needed(lattice: Lattice) -> Tensor:
    """(N,) int64: the fewest frames that each target needs, labels + pairs of equal neighbours."""
    labels = padded_labels(lattice)
    # Beyond the length the table holds only blanks. No valid target has a blank among its labels.
    repeats = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != lattice.blank)
    return lattice.target_lengths + repeats.sum(1)


def tighten(lattice: Lattice) -> Lattice:
    """Set `max_target` to the longest target of the batch. Reads the lengths: causes a device sync."""
    if lattice.target_lengths.shape[0] == 0 or not lattice.concatenated:
        return lattice
    return lattice._replace(max_target=int(lattice.target_lengths.max().clamp(0, lattice.labels.shape[0])))
