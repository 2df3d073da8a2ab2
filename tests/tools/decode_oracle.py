"""The oracle of decoding, which judges `ctckit.reference.decoding`: enumeration of every path, in 50 digits.

It shares nothing with the library. Exponential, hence for small problems only.

A beam is defined by paths here, without masses of prefixes: after each frame every path that is left spells one of the
labellings that are kept.
"""

from __future__ import annotations

import decimal
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from tests.tools.oracle import DIGITS, Target, collapse, weights

Rows = Sequence[Sequence[float]]  # [frame][class], log-probabilities
Score = Callable[[Target], float]  # of a labelling, in nats


def nothing(_target: Target) -> float:
    """The score of a search without scorers."""
    return 0.0


def acoustic_scores(rows: Rows, classes: int, blank: int) -> dict[Target, float]:
    """A(y) of every labelling that so many frames can spell: log of the sum over its paths, -inf for a sum of 0."""
    probs = weights(rows)
    sums: dict[Target, Decimal] = {}
    with decimal.localcontext(DIGITS):
        for path in itertools.product(range(classes), repeat=len(rows)):
            p = math.prod((row[c] for row, c in zip(probs, path, strict=True)), start=Decimal(1))
            target = collapse(path, blank)
            sums[target] = sums.get(target, Decimal(0)) + p
    return {target: _log(total) for target, total in sums.items()}


def objectives(scores: dict[Target, float], of_labelling: Score) -> dict[Target, float]:
    """J(y) = A(y) + F(y)."""
    return {target: score + of_labelling(target) for target, score in scores.items()}


def greedy(rows: Rows, classes: int, blank: int) -> tuple[Target, float]:
    """What the best path spells, and the path's score. Of equally good paths the first by classes.

    A path must have a probability above 0.
    """
    best: tuple[Fraction, Target] | None = None
    for path in itertools.product(range(classes), repeat=len(rows)):
        scores = [row[c] for row, c in zip(rows, path, strict=True)]
        if -math.inf in scores:
            continue
        score = sum(map(Fraction, scores), Fraction(0))
        if best is None or score > best[0]:
            best = score, path
    assert best is not None, "every path has probability 0"
    return collapse(best[1], blank), float(best[0])


def beam(
    rows: Rows,
    classes: int,
    blank: int,
    width: int,
    *,
    of_labelling: Score = nothing,
    of_end: Score = nothing,
    beam_threshold: float | None = None,
    token_threshold: float = 0.0,
    blank_threshold: float = math.inf,
) -> list[tuple[Target, float]]:
    """The labellings of the last beam and their J over the paths that are left, best first.

    Of labellings that are equally good any may be kept: for problems without ties only.
    """
    probs = weights(rows)
    left: dict[Target, Decimal] = {(): Decimal(1)}  # path -> probability
    kept: dict[Target, Decimal] = {(): Decimal(1)}  # labelling -> exp J
    with decimal.localcontext(DIGITS):
        for row in probs:
            only_blank = row[blank] > Decimal(blank_threshold)
            grown: dict[Target, Decimal] = {}
            for path, p in left.items():
                for longer in ((*path, c) for c in range(classes)):
                    c = longer[-1]
                    weak = row[c] < Decimal(token_threshold) and collapse(longer, blank) not in kept
                    if not weak and not (only_blank and c != blank):
                        grown[longer] = p * row[c]
            sums: dict[Target, Decimal] = {}
            for path, p in grown.items():
                target = collapse(path, blank)
                sums[target] = sums.get(target, Decimal(0)) + p
            kept = _best(((y, p * _exp(of_labelling(y))) for y, p in sums.items()), width)
            if beam_threshold is not None and kept:
                least = max(kept.values()) * _exp(-beam_threshold)
                kept = {target: p for target, p in kept.items() if p >= least}
            left = {path: p for path, p in grown.items() if collapse(path, blank) in kept}
        kept = _best(((y, p * _exp(of_end(y))) for y, p in kept.items()), width)
    return [(target, _log(p)) for target, p in kept.items()]


def _best(candidates: Iterable[tuple[Target, Decimal]], width: int) -> dict[Target, Decimal]:
    alive = [(target, p) for target, p in candidates if p > 0]
    return dict(sorted(alive, key=lambda one: one[1], reverse=True)[:width])


def _exp(nats: float) -> Decimal:
    return DIGITS.exp(Decimal(nats))


def _log(p: Decimal) -> float:
    return -math.inf if p == 0 else float(DIGITS.ln(p))


# --------------------------------------------------------------------------------------------- comparison with answers
# test_decode_oracle.py shows that each of these fails when it should.


def assert_scores(actual: Sequence[tuple[Target, float]], expected: dict[Target, float], *, tolerance: float) -> None:
    """Every labelling above -inf once, with its score, and no other; and the best first."""
    tokens = [target for target, _ in actual]
    assert len(set(tokens)) == len(tokens), f"a labelling comes twice: {tokens}"
    possible = {target for target, score in expected.items() if score > -math.inf}
    assert set(tokens) == possible, f"missing {possible - set(tokens)}, too many {set(tokens) - possible}"
    for target, score in actual:
        assert _close(score, expected[target], tolerance), f"{target}: {score!r}, expected {expected[target]!r}"
    assert all(a >= b for (_, a), (_, b) in itertools.pairwise(actual)), f"not sorted: {actual}"


def assert_beam(
    actual: Sequence[tuple[Target, float]], expected: Sequence[tuple[Target, float]], *, tolerance: float
) -> None:
    """The same labellings in the same order, with the same scores."""
    assert [target for target, _ in actual] == [target for target, _ in expected]
    assert_scores(actual, dict(expected), tolerance=tolerance)


def _close(actual: float, expected: float, tolerance: float) -> bool:
    return abs(actual - expected) <= tolerance * max(1.0, abs(expected))
