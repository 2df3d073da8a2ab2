"""Emissions of ten classes to align with, and what was aligned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

import ctckit

if TYPE_CHECKING:
    from torch import Tensor


LETTERS = ["-", "|", *"abcdefgh"]


def sharp(path: list[int], classes: int = 10, by: float = 9.0) -> Tensor:
    """Logits of a nearly certain path."""
    return by * torch.nn.functional.one_hot(torch.tensor(path), classes).float()


def noise(frames: int, classes: int = 10, *, seed: int = 0, items: int | None = None) -> Tensor:
    shape = (frames, classes) if items is None else (items, frames, classes)
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def places(alignment: ctckit.Alignment) -> list[tuple[str, int, int]]:
    return [(token.text, token.start, token.end) for token in alignment.tokens]
