"""The definition of decoding at the limits of its numbers: scale, no mass, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from ctckit import ArgumentValueError
from ctckit.reference.decoding import LARGEST, Entry, beam_search, greedy
from tests.reference.decoding_problems import bias, logs, near, problem, shares


def tenths(exponents: Sequence[Sequence[float]]) -> list[list[float]]:
    """Emissions for `two_to_ten_times`: of exponents above 75, too."""
    return [[exponent / 10 for exponent in row] for row in exponents]


def two_to_ten_times(x: float) -> float:
    """An exact exponential for whole exponents."""
    return 0.0 if x == -math.inf else float(2.0 ** round(10 * x))


@pytest.mark.parametrize("each", [-650.0, -50.0, 50.0, 74.0])
def test_thousands_of_frames_of_any_scale(each: float) -> None:
    assert beam_search([[each]] * 2000, beam_width=4) == [Entry((), near(2000 * each))]
    x = torch.randn(2000, 4, dtype=torch.float64).log_softmax(1)
    plain, shifted = (beam_search(emissions, beam_width=4) for emissions in (x, x + each))
    assert [entry.tokens for entry in plain] == [entry.tokens for entry in shifted]
    for before, after in zip(plain, shifted, strict=True):
        # A rounding of x + each is up to 6e-14, 2000 times.
        assert after.score - 2000 * each == pytest.approx(before.score, abs=1e-9)


def test_long_gains_of_any_scale() -> None:
    for gain in (-60.0, 60.0):
        x = logs(*[[0, 1, 0], [0, 0, 1]] * 500)
        (found,) = beam_search(x, beam_width=4, scorers=[bias(0, gain, gain)])
        assert found == Entry((1, 2) * 500, near(1000 * gain))


def test_what_is_far_below_the_best_stays_exact() -> None:
    """1000 nats below, and 1300 nats below."""
    x = torch.tensor([[0.0, -500.0], [0.0, -500.0]], dtype=torch.float64)
    (first, one) = beam_search(x[:1], beam_width=9)
    assert (first, one) == (Entry((), 0.0), Entry((1,), near(-500.0)))
    twice = beam_search([[0.0, -500.0], [0.0, -math.inf], [0.0, -500.0]], beam_width=9)
    assert twice[2] == Entry((1, 1), near(-1000.0))
    assert len(beam_search([[0.0, -650.0], [0.0, -math.inf], [0.0, -650.0]], beam_width=9)) == 2


@pytest.mark.parametrize(
    ("first", "smallest"), [(0, -1774), (-100, -1674), (-101, -1774), (100, -1874), (101, -1774), (-900, -1774)]
)
def test_the_scale(first: int, smallest: int) -> None:
    """The best starts at 2^700, and goes back there when it leaves 2^600 .. 2^801. The smallest mass is 2^-1074."""

    def count(below: int) -> int:
        x = tenths([[first, -math.inf], [0, -900], [0, -math.inf], [0, below + 900]])
        return len(beam_search(x, beam_width=9, exponential=two_to_ten_times))

    assert (count(smallest), count(smallest - 1)) == (3, 2)


def test_the_smallest_mass_leaves_by_the_blank() -> None:
    """2^(700 - 902 - 2 - 870) = 2^-1074, half of which is 0; the last frame applies only the blank."""
    x = tenths([[-2, -902], [-2, -math.inf], [-2, -870], [-1, 0]])
    for frames, count in ((3, 3), (4, 2)):
        found = beam_search(x[:frames], beam_width=9, exponential=two_to_ten_times, blank_threshold=0.4)
        assert [entry.tokens for entry in found] == [(), (1,), (1, 1)][:count]


def test_no_frames_and_no_mass() -> None:
    assert beam_search([], beam_width=1) == [Entry((), 0.0)]
    assert beam_search(torch.zeros(0, 3), beam_width=1) == [Entry((), 0.0)]
    assert beam_search([], beam_width=1, scorers=[bias(1.0, 1.0)]) == [Entry((), 0.0)]
    assert greedy([]) == ((), 0.0)
    nothing = [-math.inf, -math.inf]
    for rows in ([nothing], [[0.0, 0.0], nothing], [nothing, [0.0, 0.0]]):
        assert beam_search(rows, beam_width=9) == []
        for options in ({"beam_threshold": 1.0}, {"token_threshold": 0.1}, {"blank_threshold": 0.5}):
            assert beam_search(rows, beam_width=9, **options) == []  # type: ignore[arg-type]  # mypy reads no keys
    assert greedy([[-1.0, -0.5], nothing]) == ((1,), -math.inf)


def test_what_is_read() -> None:
    x = problem(4, 3, 0, "flat").x
    expected = beam_search(x, beam_width=3)
    assert beam_search(x.tolist(), beam_width=3) == expected
    assert beam_search(x.clone().requires_grad_(), beam_width=3) == expected
    narrow = beam_search(x.float(), beam_width=3)
    assert narrow == beam_search(x.float().double(), beam_width=3)
    assert narrow != expected
    # One's own exponential.
    assert shares(beam_search(x, beam_width=99, exponential=lambda value: 2.0**value)) == shares(
        beam_search(x * math.log(2), beam_width=99)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_and_inf_are_refused(value: float) -> None:
    rows = [[0.0, -1.0], [0.0, -1.0], [-2.0, value], [value, 0.0]]
    for decode in (lambda: beam_search(rows, beam_width=2), lambda: greedy(rows)):
        with pytest.raises(ArgumentValueError, match=f"log_probs hold {value} in frame 2 for class 1"):
            decode()


def test_what_could_overflow_is_refused() -> None:
    with pytest.raises(ArgumentValueError, match=r"75\.0 in frame 0 for class 0"):
        beam_search([[LARGEST]], beam_width=1)
    assert greedy([[LARGEST, 100.0]]) == ((1,), 100.0)
    for gain in (LARGEST, math.inf, math.nan):
        with pytest.raises(ArgumentValueError, match=f"scorers gain {gain} at the end of \\[1\\]"):
            beam_search([[0.0, 0.0]], beam_width=2, scorers=[bias(0.0, gain)])
    # The largest numbers that are not refused, all at once.
    most = math.nextafter(LARGEST, 0)
    scorer = bias(0.0, most, most)
    scorer.ends[:] = most
    found = beam_search([[most] * 3] * 9, beam_width=2, scorers=[scorer])
    assert all(math.isfinite(entry.score) for entry in found)
