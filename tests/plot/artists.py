"""Artists read back from the axes, and occupancies to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import ctckit

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bars_of(ax: Axes) -> list[tuple[str, np.ndarray]]:
    """Read back colour and height, frame by frame, of the filled curves."""
    bars = []
    for patch in ax.patches:
        if isinstance(patch, StepPatch):
            heights, _, baseline = patch.get_data()
            bars.append((to_hex(patch.get_facecolor()), heights - baseline))
    return bars


def names_of(ax: Axes) -> list[tuple[str, float]]:
    return [(text.get_text(), float(text.get_position()[0])) for text in ax.texts]


def occupancy(targets: list[int], frames: int = 12, classes: int = 5, **options: Any) -> torch.Tensor:
    logits = 3 * torch.randn(frames, classes)
    return ctckit.posteriors(logits, torch.tensor(targets), logits=True, **options)
