"""Decodings of all items with some weights, their errors, and the search for the weights with the fewest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

import numpy as np

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.hypothesis_pool import Counts, Floats, HypothesisPool, choose
from ctckit.corpus.manifest import Item
from ctckit.corpus.outcomes import Outcome
from ctckit.corpus.weight_task import WeightJob, WeightPoint

__all__ = ["By", "ErrorCounts", "WeightGrid", "WeightSearch", "find_weights"]

By = Literal["wer", "cer"]

_STEPS: Final = (60, 36)  # of the table, in weights and in bonuses
_MOST_ROUNDS: Final = 12
_NEIGHBOURS: Final = (2, 1)  # steps of the grid to neighbours, the far ones first
_DIRECTIONS: Final = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1))  # more weight goes with more bonus
_SAMPLES: Final = 1000


class ErrorCounts(NamedTuple):
    """The errors of decoded texts."""

    words: int
    """Words of the references."""
    word_errors: int
    characters: int
    """Characters of the references."""
    character_errors: int

    @property
    def wer(self) -> float:
        """Word error rate; NaN without words."""
        return self.word_errors / self.words if self.words else np.nan

    @property
    def cer(self) -> float:
        """Character error rate; NaN without characters."""
        return self.character_errors / self.characters if self.characters else np.nan

    def rate(self, by: By) -> float:
        """Return one of the two."""
        return self.wer if by == "wer" else self.cer


class WeightGrid(NamedTuple):
    """The weights of the table."""

    lm_weights: Floats
    word_bonuses: Floats

    @classmethod
    def of(cls, *spans: tuple[float, float]) -> WeightGrid:
        """Return a grid from the least to the largest values."""
        axes = [np.round(np.linspace(*span, steps + 1), 6) for span, steps in zip(spans, _STEPS, strict=True)]
        return cls(axes[0], axes[1])

    def place(self, point: WeightPoint) -> tuple[float, float]:
        """Return where a point lies, in steps of the grid."""
        found = [(value - axis[0]) / (axis[1] - axis[0]) for value, axis in zip(point[:2], self, strict=True)]
        return float(found[0]), float(found[1])

    def has(self, row: int, place: int) -> bool:
        """Return whether a place is within the grid."""
        return 0 <= row < len(self.lm_weights) and 0 <= place < len(self.word_bonuses)

    def at(self, point: WeightPoint, row: int, place: int) -> WeightPoint:
        """Return a point with the weights of a place."""
        return point._replace(lm_weight=float(self.lm_weights[row]), word_bonus=float(self.word_bonuses[place]))

    def nearest(self, point: WeightPoint) -> tuple[int, int]:
        """Return the place of the grid that is nearest to a point."""
        found = [int(np.clip(round(at), 0, len(axis) - 1)) for at, axis in zip(self.place(point), self, strict=True)]
        return found[0], found[1]


class WeightSearch:
    """The items, what they were decoded with, and the errors.

    Args:
        do: decodes items.
        items: the items.
        watch: see `tune`.
        note: see `tune`.
        faults: to which the faults of items are added.
    """

    def __init__(
        self, do: Callable[[Iterator[Item]], Iterator[Outcome]], items: list[Item],
        watch: Callable[[str, int, int], None], note: Callable[[str], None], faults: Counter[str],
    ) -> None:  # fmt: skip
        self._do, self._items, self._watch, self._note, self._faults = do, items, watch, note, faults
        self._said: set[str] = set()
        self._errors: dict[tuple[WeightPoint, bool], Counts] = {}
        self._sizes = np.zeros((len(items), 2), np.int64)
        self.pool = HypothesisPool(len(items))
        self.good = list(range(len(items)))
        self.points: list[WeightPoint] = []

    def decode(self, what: str, points: list[WeightPoint]) -> None:
        """Decode with some weights, and keep the hypotheses."""
        points = [point for point in dict.fromkeys(points) if point not in self.points]
        self.points += points
        self._run(what, points, kept=True)

    def confirm(self, what: str, points: list[WeightPoint]) -> None:
        """Decode with some weights as the given task does."""
        self._run(what, list(dict.fromkeys(points)), kept=False)

    def _run(self, what: str, points: list[WeightPoint], *, kept: bool) -> None:
        numbers = list(self.good)
        for point in points:
            self._errors[point, kept] = np.zeros((len(self._items), 2), np.int64)
        jobs = (WeightJob.of(self._items[number], tuple(points), is_kept=kept) for number in numbers)
        self._watch(what, 0, len(numbers))
        lost = set()
        for done, (number, outcome) in enumerate(zip(numbers, self._do(jobs), strict=True), start=1):
            self._watch(what, done, len(numbers))
            for note in outcome.notes:
                if note not in self._said:
                    self._said.add(note)
                    self._note(note)
            if outcome.result is None:
                assert outcome.fault is not None  # noqa: S101  # for the type checker
                self._faults[outcome.fault.kind] += 1
                lost.add(number)
                continue
            self._sizes[number] = outcome.result["sizes"]
            for point, errors in zip(points, outcome.result["errors"], strict=True):
                self._errors[point, kept][number] = errors
            for found in outcome.result["hypotheses"]:
                self.pool.add(number, found)
        self.good = [number for number in numbers if number not in lost]
        if not self.good:
            raise CorpusError(f"no item could be decoded: {dict(self._faults)}; ctckit decode lists the reasons")
        if not self._sizes[self.good].all(1).any():
            raise CorpusError("the texts of the manifest have no words: weights are chosen by errors")

    def table(self, grid: WeightGrid) -> Counts:
        """Return the (A, B, 2) errors of the hypotheses that are best by each pair of weights."""
        return self.pool.errors(grid.lm_weights, grid.word_bonuses, self.good)

    def errors_of(self, point: WeightPoint, *, kept: bool = False) -> Counts:
        """Return the errors of the good items, (N, 2) in words and in characters."""
        return self._errors[point, kept][self.good]

    def counts_of(self, point: WeightPoint, *, kept: bool = False) -> ErrorCounts:
        """Return the errors of all good items."""
        words, characters = self._sizes[self.good].sum(0).tolist()
        errors = self.errors_of(point, kept=kept).sum(0).tolist()
        return ErrorCounts(words, errors[0], characters, errors[1])

    def is_worse(self, point: WeightPoint, best: WeightPoint, column: int) -> bool:
        """Return whether a point has more errors than another one, by more than the standard error of the difference.

        The standard error is that of a sum of differences whose mean is 0.
        """
        more = (self.errors_of(point) - self.errors_of(best))[:, column]
        return bool(more.sum() > np.sqrt((more**2).sum()))

    def interval(self, before: WeightPoint, after: WeightPoint, column: int) -> tuple[float, float]:
        """Return a 95% interval of the change of an error rate: the items are sampled with replacement."""
        change = (self.errors_of(after) - self.errors_of(before))[:, column]
        sizes = self._sizes[self.good][:, column]
        generator = np.random.default_rng(0)
        found = []
        for _ in range(_SAMPLES):
            rows = generator.integers(0, len(sizes), len(sizes))
            found.append(change[rows].sum() / max(1, sizes[rows].sum()))
        low, high = np.quantile(found, (0.025, 0.975))
        return float(low), float(high)


def find_weights(search: WeightSearch, start: WeightPoint, grid: WeightGrid, column: int) -> WeightPoint:
    """Find the point with the fewest errors.

    Args:
        search: decodes.
        start: where to start.
        grid: the weights to try.
        column: 0 to count errors in words, 1 in characters.
    """
    quarters = [(float(axis[len(axis) // 4]), float(axis[3 * len(axis) // 4])) for axis in grid]
    corners = [start._replace(lm_weight=w, word_bonus=b) for w in quarters[0] for b in quarters[1]]
    search.decode("starting points", [start, *corners])
    # The table tells where to look. It knows no errors of the search: a hypothesis that was found with other weights
    # counts, too.
    for number in range(1, _MOST_ROUNDS + 1):
        row, place = choose(search.table(grid)[..., column], grid.place(start))
        point = grid.at(start, row, place)
        if point in search.points:
            break
        search.decode(f"round {number}", [point])
    # So decodings have the last word: the neighbours of the best point, until none is better.
    for step in _NEIGHBOURS:
        for _ in range(_MOST_ROUNDS):
            best = _best(search, start, grid, column)
            row, place = grid.nearest(best)
            around = [(row + step * down, place + step * right) for down, right in _DIRECTIONS]
            points = [grid.at(start, *at) for at in around if grid.has(*at)]
            new = [point for point in points if point not in search.points]
            if new:
                search.decode(f"neighbours of {best.lm_weight:g}, {best.word_bonus:g}", new)
            if _best(search, start, grid, column) == best:
                break
    return _best(search, start, grid, column)


def _best(search: WeightSearch, start: WeightPoint, grid: WeightGrid, column: int) -> WeightPoint:
    """Return the point with the fewest errors of those decoded with; of equal ones, the nearest to the start."""

    def order(point: WeightPoint) -> tuple[float, float]:
        far = sum((a - b) ** 2 for a, b in zip(grid.place(point), grid.place(start), strict=True))
        return float(search.errors_of(point, kept=True)[:, column].sum()), far

    return min(search.points, key=order)
