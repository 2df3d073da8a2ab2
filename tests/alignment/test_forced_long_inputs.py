"""Forced alignment of long inputs: correct beyond 2^31 cells, and little memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import torch

import ctckit
from tests.tools.peak_memory import peak_of

if TYPE_CHECKING:
    from torch import Tensor


def planted(frames: int, labels: int, classes: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities (1, T, C) of 0 on one path and -1 elsewhere, its target (1, S), and the path (T,)."""
    target = 1 + torch.arange(labels) % (classes - 1)
    state = torch.arange(frames) * (2 * labels + 1) // frames
    path = torch.where(state % 2 == 1, target[(state // 2).clamp(max=labels - 1)], 0)
    x = torch.full((1, frames, classes), -1.0)
    x[0, torch.arange(frames), path] = 0
    return x, target[None], path


def test_more_than_2_to_the_31_cells() -> None:
    pytest.importorskip("ctckit._core")
    x, target, path = planted(100_000, 24_000)
    start = time.perf_counter()
    with ctckit.backends.use("cpu"):
        paths, scores = ctckit.forced_align(x, target)
    assert torch.equal(paths[0], path)
    assert (scores == 0).all()
    assert time.perf_counter() - start < 60, "about a second where nothing else runs"


ALIGN = "ctckit.forced_align(x, y)"
LONG = "x, y = torch.randn(1, 60_000, 32), torch.randint(1, 32, (1, 9_000))"


def test_memory_of_a_long_item() -> None:
    pytest.importorskip("ctckit._core")
    assert peak_of(ALIGN, LONG) < 100, "MiB; the promise is 1 GiB"


CONFIDENCES = "ctckit.posteriors(x, y, states=torch.zeros(x.shape[:2], dtype=torch.int64), batch_first=True)"


def test_memory_of_confidences() -> None:
    pytest.importorskip("ctckit._core")
    assert peak_of(CONFIDENCES, LONG) < 90, "MiB; most of it checkpoints of all positions"


AN_HOUR = """
y = 1 + torch.arange(45_000) % 31
x = torch.full((1, 180_000, 32), -8.0)
x[0, torch.arange(180_000), torch.stack([y * 0, y, y, y * 0], 1).flatten()] = 0
y = y[None]
"""


def test_memory_of_an_hour_that_the_model_is_sure_of() -> None:
    """Checkpoints are as wide as the band; those of all positions take 250 MiB, and 490 MiB for confidences."""
    pytest.importorskip("ctckit._core")
    assert peak_of(ALIGN, AN_HOUR) < 40
    assert peak_of(CONFIDENCES, AN_HOUR) < 120
