"""How time is measured: two contenders in turn, and the middle of what comes out.

A machine's speed drifts (clock, temperature, other programs). Two calls that follow each
other meet the same machine, so the ratio is taken pair by pair, and the median of the
ratios is reported; it is not the ratio of two medians measured minutes apart.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.contenders import Contender

Percentiles = dict[str, float]

SHORT = 1e-3  # seconds: to a call that takes longer it makes little difference what its process did before


@dataclass(frozen=True)
class Effort:
    """How long to measure a pair of contenders."""

    seconds: float  # about so long in all
    least: int  # but at least so many pairs
    most: int = 200


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the seconds of a call."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def once(contender: Contender) -> float:
    """Seconds of one call. A call that returns a float has timed itself, in another process."""
    contender.reset()
    result, seconds = timed(contender.run)
    return result if isinstance(result, float) else seconds


def awake(run: Callable[[], Any], reset: Callable[[], object] = lambda: None) -> tuple[Any, float]:
    """The result and the seconds of a call in a process that has just waited for another one.

    Of a short call the second is timed: the first one mostly pays for caches and clock, as loss and gradient of a few
    frames take five times as long after a pause.
    """
    reset()
    result, seconds = timed(run)
    if seconds > SHORT:
        return result, seconds
    reset()
    return timed(run)


def in_turn(first: Contender, second: Contender, effort: Effort, *, warm: bool = False) -> dict[str, Any]:
    """Run first, second, first, second, ...: times in milliseconds, and first / second.

    The first pair pays for caches, thread pools and compilation: it is not counted, unless
    both are `warm`.
    """
    pairs: list[tuple[float, float]] = []
    least, most = (count + (not warm) for count in (effort.least, effort.most))
    gc.collect()
    gc.disable()
    end = time.perf_counter() + effort.seconds
    while len(pairs) < least or (len(pairs) < most and time.perf_counter() < end):
        pairs.append((once(first), once(second)))
    gc.enable()
    first.reset()
    second.reset()
    times = np.array(pairs if warm else pairs[1:])
    return {
        "pairs": len(times),
        "first_ms": percentiles(times[:, 0] * 1e3),
        "second_ms": percentiles(times[:, 1] * 1e3),
        "ratio": percentiles(times[:, 0] / times[:, 1]),
    }


def percentiles(values: NDArray[np.float64]) -> Percentiles:
    """The median, and the bounds of the middle three fifths."""
    low, middle, high = np.percentile(values, (20, 50, 80))
    return {"p20": float(low), "p50": float(middle), "p80": float(high)}
