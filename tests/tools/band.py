"""The band of the core's way back: how much it may leave out, and how much it has left out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ctckit.lattice import gate, tighten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.tools.cases import Arguments


@contextmanager
def band_budget(budget: float) -> Iterator[None]:
    """What may be left out of an item's probability, of targets of any length; with 0, nothing."""
    from ctckit import _core

    _core.set_band_budget(budget)
    try:
        yield
    finally:
        _core.set_band_budget(-1)


@contextmanager
def little_memory_planned() -> Iterator[None]:
    """Memory of items of several segments is first planned for an eighth of the positions, as for a very long item."""
    from ctckit import _core

    _core.set_most_planned(0)
    try:
        yield
    finally:
        _core.set_most_planned(2 << 30)


def state_occupancy(arguments: Arguments, *, logits: bool = False) -> tuple[Tensor, Tensor]:
    """The occupancy of all states (T, N, 2S + 1), and what has been left out of each item's probability (N,)."""
    from ctckit import _core
    from ctckit.backends import cpu

    x, lattice, _ = gate(*arguments)
    lattice = tighten(lattice)
    width = 2 * lattice.max_target + 1
    occupancy = torch.empty(*x.shape[:2], width, dtype=x.dtype)
    lost = torch.full((x.shape[1],), torch.nan, dtype=torch.float64)
    cpu._run(_core.state_occupancy, x, "x", lattice, logits, width, occupancy.data_ptr(), lost.data_ptr())
    return occupancy, lost
