"""Emissions, scorers and short forms for the tests of decoding's definition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from ctckit.reference.decoding import Entry
from tests.tools.cases import masked

TOLERANCE = 1e-12  # roundings of sums over a few frames of numbers near 10, in float64
EVERYTHING = 10**6
KINDS = ("flat", "sharp", "masked", "not normalised")


class Problem(NamedTuple):
    x: Tensor  # (T, C)
    classes: int
    blank: int

    @property
    def rows(self) -> list[list[float]]:
        rows: list[list[float]] = self.x.tolist()
        return rows


def problem(frames: int, classes: int, blank: int, kind: str, seed: int = 0) -> Problem:
    generator = torch.Generator().manual_seed(seed * 1000 + frames)
    x = {"flat": 0.5, "sharp": 8.0}.get(kind, 2.0) * torch.randn(
        frames, classes, generator=generator, dtype=torch.float64
    )
    x = x if kind == "not normalised" else x.log_softmax(1)
    return Problem(masked(x, seed=seed) if kind == "masked" else x, classes, blank)


def problems(classes: int, blank: int, longest: int = 5) -> Iterator[Problem]:
    for frames, kind, seed in itertools.product(range(longest + 1), KINDS, range(2)):
        yield problem(frames, classes, blank, kind, seed)


every_blank = pytest.mark.parametrize(
    ("classes", "blank"), [(classes, blank) for classes in range(1, 5) for blank in range(classes)]
)


class Bigrams:
    """A gain per token and token before it, and one at the end. The state is the last token, or C at the start."""

    def __init__(self, classes: int, seed: int = 0, scale: float = 2.0) -> None:
        rng = np.random.default_rng(seed)
        self.table = scale * rng.standard_normal((classes + 1, classes))
        self.ends = scale * rng.standard_normal(classes + 1)
        self.start = classes

    def initial(self) -> int:
        return self.start

    def advance(self, states: Any, tokens: Any) -> tuple[Any, Any]:
        return self.table[states, tokens], tokens

    def finish(self, states: Any) -> Any:
        return self.ends[states]

    def largest_gain(self) -> float:
        return float(self.table.max())

    def of(self, tokens: Sequence[int]) -> float:
        """What the whole labelling gains without its end."""
        return float(sum(self.table[pair] for pair in itertools.pairwise((self.start, *tokens))))

    def of_end(self, tokens: Sequence[int]) -> float:
        return float(self.ends[(self.start, *tokens)[-1]])


def bias(*gains: float) -> Bigrams:
    """A scorer that only looks at the class."""
    scorer = Bigrams(len(gains))
    scorer.table[:] = gains
    scorer.ends[:] = 0.0
    return scorer


def logs(*rows: Sequence[float]) -> Tensor:
    """Of probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


def near(score: float) -> Any:
    """Equal but for a few roundings."""
    return pytest.approx(score, rel=1e-14, abs=1e-14)


def shares(entries: list[Entry]) -> dict[tuple[int, ...], Any]:
    """Probabilities instead of their logs."""
    return {tokens: pytest.approx(math.exp(score), rel=1e-12) for tokens, score in entries}
