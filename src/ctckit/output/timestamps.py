"""Times in files: all formats round to milliseconds in the same way, and write them in digits."""

from __future__ import annotations

import math

from ctckit.errors import ArgumentValueError

__all__ = ["clock", "decimal", "milliseconds", "rounded"]

_LAST = 100_000 * 3600  # seconds; readers of subtitles accept no longer times, and no recording is that long


def milliseconds(seconds: float) -> int:
    """Round a time to the nearest millisecond. A half goes up, so equal lengths stay equal.

    >>> milliseconds(1 / 6), milliseconds(0.0125), milliseconds(-0.0004)
    (167, 13, 0)

    Raises:
        ArgumentValueError: for a time of 100,000 hours or more.
    """
    return rounded(seconds, 1000)


def rounded(seconds: float, per_second: int) -> int:
    """Round a time to the nearest fraction of a second, of which there are `per_second`. See `milliseconds`."""
    if not math.isfinite(seconds) or abs(seconds) >= _LAST:
        raise ArgumentValueError(
            f"a time is {seconds:g} s, but must be below 100,000 hours: frame_duration and offset are in seconds"
        )
    return math.floor(per_second * seconds + 0.5)


def decimal(time: int) -> str:
    """Write milliseconds as seconds with three digits.

    >>> decimal(1005), decimal(-5)
    ('1.005', '-0.005')
    """
    return f"{'-' * (time < 0)}{abs(time) // 1000}.{abs(time) % 1000:03}"


def clock(time: int) -> str:
    """Write milliseconds, from 0 on, as hours, minutes, seconds and thousandths.

    >>> clock(3_723_004)
    '01:02:03.004'
    """
    minutes, rest = divmod(time, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
