"""The oracle, which judges the reference: CTC by enumeration of every path.

It shares nothing with the library, not even the lattice. It takes all C ** T rows of classes, collapses each by the
definition (merge equal neighbours, then drop blanks), and adds up, in exact integers or fractions or in decimals of
50 digits. Exponential, hence for small problems only. Imports the standard library and numpy, nothing from the package.
"""

from __future__ import annotations

import decimal
import itertools
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

DIGITS = decimal.Context(prec=50, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)

Number = int | Fraction | Decimal
Weights = Sequence[Sequence[Number]]  # [frame][class], the probability of the class in the frame
Target = tuple[int, ...]


class Answer(NamedTuple):
    """The answer for one target: sums over the paths that spell it."""

    paths: int  # the number of paths
    likelihood: Number  # the sum of their probabilities
    classes: np.ndarray[Any, Any]  # (T, C) of numbers: likelihood of the paths with class c in frame t
    states: np.ndarray[Any, Any]  # (T, 2S + 1) of numbers: the same by states blank, l[1], blank, ..., l[S], blank
    best: Number  # the largest probability of one path
    best_paths: tuple[Target, ...]  # the paths with that probability

    @property
    def loss(self) -> float:
        """Minus the natural logarithm of the likelihood."""
        return math.inf if self.likelihood == 0 else -float(DIGITS.ln(decimals(self.likelihood)))

    @property
    def class_occupancy(self) -> np.ndarray[Any, Any]:
        """(T, C) float64; 0 if no path spells the target."""
        return self._normalised(self.classes)

    @property
    def state_occupancy(self) -> np.ndarray[Any, Any]:
        """(T, 2S + 1) float64; 0 if no path spells the target."""
        return self._normalised(self.states)

    def _normalised(self, table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if self.likelihood == 0:
            return np.zeros(table.shape)
        total = decimals(self.likelihood)
        shares = [float(DIGITS.divide(decimals(x), total)) for x in table.flat]
        occupancy: np.ndarray[Any, Any] = np.array(shares, dtype=np.float64).reshape(table.shape)
        return occupancy


def decimals(number: Number) -> Decimal:
    """Any exact number as a decimal of 50 digits."""
    if isinstance(number, Fraction):
        return DIGITS.divide(Decimal(number.numerator), Decimal(number.denominator))
    return Decimal(number)


def weights(log_probs: Sequence[Sequence[float]]) -> list[list[Decimal]]:
    """Probabilities of log-probabilities (normalised or not); exp(-inf) is 0."""
    return [[DIGITS.exp(Decimal(x)) for x in row] for row in log_probs]


def softmax(logits: Sequence[Sequence[float]]) -> list[list[Decimal]]:
    """Probabilities of logits; all 0 if all logits are -inf."""
    rows = weights(logits)
    totals = [sum(row, Decimal(0)) for row in rows]
    return [[DIGITS.divide(x, total) if total else x for x in row] for row, total in zip(rows, totals, strict=True)]


def collapse(path: Sequence[int], blank: int) -> Target:
    """The target that a path spells: runs of equal classes merged, then blanks dropped."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def states_of(path: Sequence[int], blank: int) -> list[int]:
    """The state in each frame: blanks after k labels are state 2k, the k-th label (from 1) is state 2k - 1."""
    states: list[int] = []
    for label, run in itertools.groupby(path):
        before = collapse(path[: len(states)], blank)
        states += [2 * len(before) + (label != blank)] * len(list(run))
    return states


def solve(probs: Weights, classes: int, blank: int) -> dict[Target, Answer]:
    """The answers for all targets that T frames can spell. `classes` is an argument because of T = 0."""
    spelled: dict[Target, list[Target]] = {}
    for path in itertools.product(range(classes), repeat=len(probs)):
        spelled.setdefault(collapse(path, blank), []).append(path)
    return {target: _answer(probs, classes, target, paths, blank) for target, paths in spelled.items()}


def answer(probs: Weights, classes: int, target: Sequence[int], blank: int) -> Answer:
    """The answer for one target; an infeasible one has no path, likelihood 0 and loss inf."""
    paths = itertools.product(range(classes), repeat=len(probs))
    target = tuple(target)
    return _answer(probs, classes, target, [path for path in paths if collapse(path, blank) == target], blank)


def impossible(frames: int, classes: int, target: Sequence[int]) -> Answer:
    """The answer for an infeasible target."""
    return _answer([[]] * frames, classes, tuple(target), [], 0)


def _answer(probs: Weights, classes: int, target: Target, paths: list[Target], blank: int) -> Answer:
    by_class = np.full((len(probs), classes), 0, dtype=object)
    by_state = np.full((len(probs), 2 * len(target) + 1), 0, dtype=object)
    likelihood: Number = 0
    probabilities: list[Number] = []
    with decimal.localcontext(DIGITS):
        for path in paths:
            p: Number = 1
            for row, label in zip(probs, path, strict=True):
                p = p * row[label]  # type: ignore[operator]  # one problem has one kind of number
            likelihood = likelihood + p  # type: ignore[operator]
            for frame, (label, state) in enumerate(zip(path, states_of(path, blank), strict=True)):
                by_class[frame, label] += p
                by_state[frame, state] += p
            probabilities.append(p)
        best = max(probabilities, default=0)
        # Ties are found even if the last of 50 digits was rounded.
        ties = [(best - p) * 10**30 <= best for p in probabilities]  # type: ignore[operator]
    best_paths = tuple(path for path, tie in zip(paths, ties, strict=True) if tie)
    return Answer(len(paths), likelihood, by_class, by_state, best, best_paths)


def hessian(probs: Weights, classes: int, target: Sequence[int], blank: int) -> np.ndarray[Any, Any]:
    """(T, C, T, C) second derivatives of the loss by the log-probabilities.

    With the probability g(i) that a path goes through cell i = (t, c), and g(i, j) that it goes through both:
    d2 loss / dx(i) dx(j) = g(i) g(j) - g(i, j).
    """
    target = tuple(target)
    shape = len(probs), classes
    ways = [path for path in itertools.product(range(classes), repeat=len(probs)) if collapse(path, blank) == target]
    if not ways:
        return np.zeros(shape + shape)
    p = np.array([math.prod(float(probs[t][c]) for t, c in enumerate(path)) for path in ways])
    p /= p.sum()
    through = np.zeros((len(ways), *shape))
    for n, path in enumerate(ways):
        through[n, range(len(path)), path] = 1
    once = np.einsum("n,ntc->tc", p, through)
    both = np.einsum("n,ntc,nud->tcud", p, through, through)
    second: np.ndarray[Any, Any] = np.einsum("tc,ud->tcud", once, once) - both
    return second


def targets(classes: int, blank: int, longest: int) -> Iterator[Target]:
    """All targets of 0 to `longest` labels."""
    labels = [label for label in range(classes) if label != blank]
    for length in range(longest + 1):
        yield from itertools.product(labels, repeat=length)


# --------------------------------------------------------------------------------------------- comparison with answers
# test_oracle.py shows that each of these fails when it should.


def assert_loss(actual: float, expected: Answer, *, tolerance: float) -> None:
    """Equal to within the tolerance, relative to the loss or to 1; infinite if and only if the answer is."""
    actual = float(actual)
    loss = expected.loss
    same = actual == loss if math.isinf(loss) else abs(actual - loss) <= tolerance * max(1.0, abs(loss))
    assert same, f"loss {actual!r}, expected {loss!r} ({expected.paths} paths)"  # NaN is not equal


def assert_table(actual: Any, expected: np.ndarray[Any, Any], *, tolerance: float, what: str = "occupancy") -> None:
    """Arrays of the same shape, equal to within the tolerance everywhere, without NaN."""
    actual = np.asarray(actual, dtype=np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    wrong = ~(np.abs(actual - expected) <= tolerance)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(f"{what}{list(at)}: {actual[at]!r}, expected {expected[at]!r}; {wrong.sum()} wrong in all")


def assert_best_path(path: Sequence[int], score: float, expected: Answer, *, tolerance: float) -> None:
    """The path is one of the best, and the score is the logarithm of its probability."""
    path = tuple(int(label) for label in path)
    assert path in expected.best_paths, f"path {path}, expected one of {expected.best_paths}"
    best = float(DIGITS.ln(decimals(expected.best)))
    assert abs(score - best) <= tolerance * max(1.0, abs(best)), f"score {score!r}, expected {best!r}"
