"""Emissions like those of models on recordings: sure or unsure, of wrong texts, or of texts that fit in several places.

Each makes logits (T, C) in float32 and a target (S,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 32

RECORDINGS: dict[str, Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]] = {}


def recording(name: str, frames: int, labels: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (T, C) and a target (S,); about so many frames and labels."""
    return RECORDINGS[name](frames, labels, torch.Generator().manual_seed(seed))


def _target(labels: int, generator: torch.Generator) -> Tensor:
    return torch.randint(1, CLASSES, (labels,), generator=generator)


def _spoken(target: Tensor, frames: int, margin: float, generator: torch.Generator) -> Tensor:
    """Noise, and a margin on one path that spells the target with blanks between labels, at uneven speed."""
    states = 2 * target.shape[0] + 1
    weights = torch.rand(states, generator=generator) + 0.2
    ends = (weights.cumsum(0) / weights.sum() * (frames - states)).long() + torch.arange(1, states + 1)
    of_frame = torch.searchsorted(ends, torch.arange(frames), right=True).clamp(max=states - 1)
    classes = torch.zeros(states, dtype=torch.int64)
    classes[1::2] = target
    x = torch.randn(frames, CLASSES, generator=generator)
    x[torch.arange(frames), classes[of_frame]] += margin
    return x


def _with_margin(margin: float) -> Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]:
    def make(frames: int, labels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        target = _target(labels, generator)
        return _spoken(target, frames, margin, generator), target

    return make


def _blank_everywhere(frames: int, labels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = torch.randn(frames, CLASSES, generator=generator)
    x[:, 0] += 6
    return x, _target(labels, generator)


def _all_equal(frames: int, labels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.zeros(frames, CLASSES), _target(labels, generator)


def _one_pattern_over_and_over(frames: int, labels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The recording has a tenth more rounds than the text."""
    pattern = _target(min(20, labels), generator)
    rounds = max(labels // pattern.shape[0], 1)
    x = _spoken(pattern.repeat(rounds + max(rounds // 10, 1)), frames, 8, generator)
    return x, pattern.repeat(rounds)


def _two_readings_far_apart(frames: int, labels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The text fits the first half of the recording as well as the second, to the bit."""
    target = _target(labels, generator)
    half = _spoken(target, frames // 2, 8, generator)
    half[:, 0] += 4
    return torch.cat([half, half]), target


def _wrong_in_the_middle(frames: int, labels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    target = _target(labels, generator)
    x = _spoken(target, frames, 8, generator)
    middle = slice(2 * labels // 5, 3 * labels // 5)
    target[middle] = _target(target[middle].shape[0], generator)
    return x, target


def _impossible_cells(frames: int, labels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One cell in fifty is impossible. (A blank that may not follow leaves hardly any path: it stays possible.)"""
    target = _target(labels, generator)
    x = _spoken(target, frames, 8, generator)
    never = torch.rand(x.shape, generator=generator) < 0.02
    never[:, 0] = False
    return x.masked_fill(never, -torch.inf), target


def _improbable_frames(frames: int, labels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One frame in a hundred holds probabilities beyond the range of a double: exact steps."""
    target = _target(labels, generator)
    x = _spoken(target, frames, 8, generator)
    x[torch.rand(frames, generator=generator) < 0.01] *= 150
    return x, target


RECORDINGS.update(
    {
        "noise": _with_margin(0),
        "margin 4": _with_margin(4),
        "margin 8": _with_margin(8),
        "margin 14": _with_margin(14),
        "blank everywhere": _blank_everywhere,
        "all equal": _all_equal,
        "one pattern over and over": _one_pattern_over_and_over,
        "two readings far apart": _two_readings_far_apart,
        "wrong in the middle": _wrong_in_the_middle,
        "impossible cells": _impossible_cells,
        "improbable frames": _improbable_frames,
    }
)
