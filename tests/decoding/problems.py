"""Emissions for the tests of the decoders, and the beams that the core and the definition find."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ctckit import _core
from ctckit.backends import cpu
from ctckit.backends.searches import Scorers, SearchOptions
from ctckit.reference import decoding

Beam = list[tuple[tuple[int, ...], float]]
"""Tokens and scores, the best first."""

KINDS = ("sharp", "flat", "ties", "uniform", "nearly equal", "masked", "held", "not normalised", "wide")


def emissions(kind: str, frames: int, classes: int, seed: int = 0) -> Tensor:
    """(T, C) in float64."""
    g = torch.Generator().manual_seed(seed * 7919 + frames * 131 + classes)
    noise = torch.randn(frames, classes, generator=g, dtype=torch.float64)
    if kind == "sharp":
        return (6 * noise).log_softmax(1)
    if kind == "flat":
        return (0.3 * noise).log_softmax(1)
    if kind == "ties":  # multiples of log 2, so that masses are equal
        return (2 * noise).log_softmax(1).div(math.log(2)).round().mul(math.log(2))
    if kind == "uniform":
        return torch.zeros(frames, classes, dtype=torch.float64).log_softmax(1)
    if kind == "nearly equal":  # but for a few roundings
        steps = torch.randint(-3, 4, (frames, classes), generator=g)
        return (1 + steps * 2.0**-52) * -math.log(classes + 0.5)
    if kind == "masked":
        masked = (2 * noise).masked_fill(torch.rand(frames, classes, generator=g) < 0.5, -torch.inf)
        masked[torch.arange(frames), torch.randint(0, classes, (frames,), generator=g)] = 0.0
        return masked.log_softmax(1)
    if kind == "held":  # each class for some frames, as by a trained model
        path = torch.randint(0, classes, (frames // 3 + 1,), generator=g).repeat_interleave(3)[:frames]
        return (noise + 7.0 * torch.nn.functional.one_hot(path, classes)).log_softmax(1)
    if kind == "not normalised":
        return 3 * noise + 1
    assert kind == "wide", kind  # masses leave the scale of the beam
    return (150 * noise).log_softmax(1)


def core_beam(x: Tensor, width: int, blank: int = 0, scorers: Scorers = (), **options: Any) -> Beam:
    """The final beam of the core for (T, C) emissions."""
    search = SearchOptions(blank, width, width, rescore=False, **options)
    (result,) = cpu.beam_search(x[:, None], torch.tensor([len(x)]), search, scorers)
    return [(found.tokens, found.beam_score) for found in result.hypotheses]


def defined_beam(x: Tensor, width: int, blank: int = 0, scorers: Scorers = (), **options: Any) -> Beam:
    """The same by the definition."""
    found = decoding.beam_search(
        x, beam_width=width, blank=blank, scorers=scorers, exponential=_core.exponential, **options
    )
    return [(entry.tokens, entry.score) for entry in found]
