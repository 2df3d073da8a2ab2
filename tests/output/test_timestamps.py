"""Times in digits, and errors for times that are too long."""

from __future__ import annotations

import math

import pytest

import ctckit
from ctckit.output.timestamps import clock, decimal, milliseconds, rounded


@pytest.mark.parametrize(
    ("time", "seconds"),
    [(0, "0.000"), (1, "0.001"), (999, "0.999"), (1000, "1.000"), (100_100, "100.100"), (-1, "-0.001")],
)
def test_decimals(time: int, seconds: str) -> None:
    assert decimal(time) == seconds


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (0, "00:00:00.000"),
        (59_999, "00:00:59.999"),
        (60_000, "00:01:00.000"),
        (3_599_999, "00:59:59.999"),
        (3_600_000, "01:00:00.000"),
        (359_999_999, "99:59:59.999"),
        (360_000_000, "100:00:00.000"),
    ],
)
def test_clocks(time: int, shown: str) -> None:
    assert clock(time) == shown


@pytest.mark.parametrize(("seconds", "time"), [(0.0005, 1), (0.0015, 2), (-0.0005, 0), (-0.0006, -1), (1.0004, 1000)])
def test_halves_go_up(seconds: float, time: int) -> None:
    assert milliseconds(seconds) == time


@pytest.mark.parametrize("sign", [1, -1])
def test_the_longest_time(sign: int) -> None:
    """The limit is 100,000 hours."""
    assert rounded(sign * 359_999_999, 1) == sign * 359_999_999
    for seconds in (360_000_000.0, math.inf):
        with pytest.raises(ctckit.ArgumentValueError, match=r"must be below 100,000 hours"):
            milliseconds(sign * seconds)
    with pytest.raises(ctckit.ArgumentValueError, match="a time is nan s"):
        milliseconds(math.nan)
