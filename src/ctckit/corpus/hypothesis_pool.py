"""Lists of hypotheses that are ranked anew for other weights of a language model.

The score of a hypothesis is linear in the weights: base + weight * log_prob + bonus * words. So which hypothesis of a
list is the best for other weights, and how many errors it has, is known without a search.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Hypotheses", "HypothesisPool", "choose"]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_BLOCK: Final = 1 << 16  # hypotheses that are ranked at a time


class Hypotheses(NamedTuple):
    """Hypotheses of an item, a row each."""

    keys: Counts
    """(H,) equal for equal labels."""
    base: Floats
    """(H,) the part of the score that depends on neither weight."""
    log_probs: Floats
    """(H,) what the language model's weight multiplies."""
    words: Floats
    """(H,) what the bonus multiplies."""
    errors: Counts
    """(H, 2) errors of the text in words and in characters."""


class HypothesisPool:
    """The hypotheses of all items, from searches with several weights.

    Args:
        items: number of items.
    """

    def __init__(self, items: int) -> None:
        self._of: list[list[Hypotheses]] = [[] for _ in range(items)]
        self._seen: list[set[int]] = [set() for _ in range(items)]

    def add(self, item: int, found: Hypotheses) -> None:
        """Add the hypotheses of an item that it does not have yet."""
        seen = self._seen[item]
        new: list[int] = []
        for row, key in enumerate(found.keys.tolist()):
            if key not in seen:
                seen.add(key)
                new.append(row)
        if new:
            keys, base, log_probs, words, errors = found
            self._of[item].append(Hypotheses(keys[new], base[new], log_probs[new], words[new], errors[new]))

    def errors(self, lm_weights: Floats, word_bonuses: Floats, items: list[int]) -> Counts:
        """Count the errors of the best hypotheses of some items.

        Args:
            lm_weights: (A,) weights.
            word_bonuses: (B,) bonuses.
            items: numbers of the items, each with a hypothesis.

        Returns:
            (A, B, 2) errors in words and in characters. Of hypotheses with equal scores the one that was added first
            counts.
        """
        total = np.zeros((len(lm_weights), len(word_bonuses), 2), np.int64)
        block: list[Hypotheses] = []
        size = 0
        for number, item in enumerate(items):
            block.append(Hypotheses(*map(np.concatenate, zip(*self._of[item], strict=True))))
            size += len(block[-1].keys)
            if size >= _BLOCK or number == len(items) - 1:
                total += _errors_of(block, lm_weights, word_bonuses)
                block, size = [], 0
        return total


def _errors_of(items: list[Hypotheses], lm_weights: Floats, word_bonuses: Floats) -> Counts:
    counts = np.array([len(item.keys) for item in items])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    whole = Hypotheses(*map(np.concatenate, zip(*items, strict=True)))
    rows = np.arange(len(whole.keys))
    found = np.empty((len(lm_weights), len(word_bonuses), 2), np.int64)
    for number, weight in enumerate(lm_weights):
        scores = (whole.base + weight * whole.log_probs)[None] + word_bonuses[:, None] * whole.words
        largest = np.repeat(np.maximum.reduceat(scores, starts, axis=1), counts, axis=1)
        best = np.minimum.reduceat(np.where(scores == largest, rows, len(rows)), starts, axis=1)
        found[number] = whole.errors[best].sum(axis=1)
    return found


def choose(errors: Counts, near: tuple[float, float]) -> tuple[int, int]:
    """Return the place of a table of errors that has the fewest, in the mean with its neighbours.

    A single low place is chance: the means of 3 x 3 places are compared. Of equal ones the nearest to `near` is taken.

    Args:
        errors: (A, B) errors.
        near: a place, in steps of the table.

    >>> table = np.array([[9, 9, 9, 9, 9], [9, 0, 9, 3, 3], [9, 9, 9, 3, 3], [9, 9, 9, 3, 3]])
    >>> choose(table, (0.0, 0.0))
    (2, 4)
    """
    rows, columns = errors.shape
    sums, counts = np.zeros((2, rows, columns))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            to = (slice(max(0, down), rows + min(0, down)), slice(max(0, right), columns + min(0, right)))
            of = (slice(max(0, -down), rows + min(0, -down)), slice(max(0, -right), columns + min(0, -right)))
            sums[to] += errors[of]
            counts[to] += 1
    means = sums / counts
    far = (np.arange(rows)[:, None] - near[0]) ** 2 + (np.arange(columns) - near[1]) ** 2
    place = int(np.where(means == means.min(), far, np.inf).argmin())
    return place // columns, place % columns
