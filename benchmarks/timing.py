"""How time is measured: calls in turn, and the median.

A machine's speed drifts (clock, temperature, other programs). Two calls that follow each other meet the same machine,
so the ratio is taken pair by pair, and the median of the ratios is reported. It is not the ratio of two medians.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORT = 1e-3  # seconds: a pause before a longer call makes little difference


class Call(NamedTuple):
    """What is timed, and `reset`, which is called before each `run` and is not timed."""

    run: Callable[[], object]
    reset: Callable[[], object] = lambda: None


class Effort(NamedTuple):
    """How long to measure calls in turn."""

    seconds: float  # about so long in all
    least: int  # but at least so many rounds
    most: int = 200


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call and its seconds."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def once(call: Call) -> float:
    """Return the seconds of one call. A call that returns a float has timed itself, in another process."""
    call.reset()
    result, seconds = timed(call.run)
    return result if isinstance(result, float) else seconds


def awake(call: Call) -> tuple[Any, float]:
    """Return the result and the seconds of a call in a process that has just waited for another one.

    A short call is made twice, and the second is timed. The first pays for cold caches and a low clock: loss and
    gradient of a few frames take five times as long after a pause.
    """
    for _ in range(2):
        call.reset()
        result, seconds = timed(call.run)
        if seconds > SHORT:
            break
    return result, seconds


def in_turn(calls: Sequence[Call], effort: Effort, *, warm: bool = False) -> NDArray[np.float64]:
    """Make all calls in turn, again and again: seconds, a row for each round and a column for each call.

    The first round pays for caches, thread pools and compilation. It is not counted, unless the calls are `warm`.
    """
    rounds: list[list[float]] = []
    least, most = (count + (not warm) for count in (effort.least, effort.most))
    gc.collect()
    gc.disable()
    end = time.perf_counter() + effort.seconds
    while len(rounds) < least or (len(rounds) < most and time.perf_counter() < end):
        rounds.append([once(call) for call in calls])
    gc.enable()
    for call in calls:
        call.reset()
    return np.array(rounds if warm else rounds[1:])


def compare(first: Call, second: Call, effort: Effort, *, warm: bool = False) -> dict[str, Any]:
    """Time two calls in turn: milliseconds of both, and first / second."""
    times = in_turn([first, second], effort, warm=warm)
    return {
        "pairs": len(times),
        "first_ms": percentiles(times[:, 0] * 1e3),
        "second_ms": percentiles(times[:, 1] * 1e3),
        "ratio": percentiles(times[:, 0] / times[:, 1]),
    }


def percentiles(values: NDArray[np.float64]) -> dict[str, float]:
    """Return the median and the 20th and 80th percentile."""
    low, middle, high = np.percentile(values, (20, 50, 80))
    return {"p20": float(low), "p50": float(middle), "p80": float(high)}
