"""Paths of hypotheses: the frames of their labels, and two scores of the same labels, by one path or by all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctckit.backends import host_backend
from ctckit.lattice import Lattice
from ctckit.loss import ctc_loss

__all__ = ["LabelPath", "best_paths", "log_likelihoods"]

Row = Sequence[int]


class LabelPath(NamedTuple):
    """The most probable path that spells a row of labels."""

    score: float
    """Its log-probability, in nats; -inf if no path spells the row."""
    starts: list[int]
    """The first frame of each label."""
    ends: list[int]
    """The frame after the last one of each label."""


def best_paths(emissions: Tensor, rows: Sequence[Row], blank: int) -> list[LabelPath]:
    """Find the best path of each row of labels.

    Args:
        emissions: (T, C) log-probabilities on the CPU.
        rows: the labels, none of them the blank.
        blank: class of the blank.
    """
    if not rows:
        return []
    x, lattice = _batch_of(emissions, rows, blank)
    found = host_backend().best_path(x, lattice)
    states = found.states.numpy()
    results = []
    for row, total, path in zip(rows, found.totals.tolist(), states, strict=True):
        if not total > -np.inf:
            results.append(LabelPath(-np.inf, [], []))
            continue
        at = np.flatnonzero(path % 2 == 1)  # frames with labels
        labels, places = path[at] // 2, np.arange(len(row))
        starts = at[np.searchsorted(labels, places, "left")]
        ends = at[np.searchsorted(labels, places, "right") - 1] + 1
        results.append(LabelPath(total, starts.tolist(), ends.tolist()))
    return results


def log_likelihoods(emissions: Tensor, rows: Sequence[Row], blank: int) -> list[float]:
    """Sum over all paths of each row of labels, in float64: minus the CTC loss, in nats.

    Args:
        emissions: (T, C) log-probabilities on the CPU.
        rows: the labels, none of them the blank.
        blank: class of the blank.
    """
    if not rows:
        return []
    x, lattice = _batch_of(emissions.double(), rows, blank)
    found = ctc_loss(x, lattice.labels, lattice.input_lengths, lattice.target_lengths, blank=blank, reduction="none")
    return [-float(loss) for loss in found]


def _batch_of(emissions: Tensor, rows: Sequence[Row], blank: int) -> tuple[Tensor, Lattice]:
    """Return the emissions once for each row, without a copy, and the lattice of the rows."""
    frames = len(emissions)
    lengths = torch.full((len(rows),), frames, dtype=torch.int64, device="cpu")
    return emissions[:, None].expand(frames, len(rows), -1), Lattice.of_rows(rows, lengths, blank)
