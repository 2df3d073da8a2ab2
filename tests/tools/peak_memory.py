"""The peak of memory of a call, measured in a process of its own.

`ru_maxrss` cannot measure it. A new process inherits that number from its parent, so a large parent hides the call.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.memory import HIGH_WATER_MARK, MALLOC

from tests.tools.sanitizers import is_sanitized

_ROOT = Path(__file__).parents[2]


def need_peaks() -> None:
    """Skip a test where the peak of memory cannot be measured."""
    if not HIGH_WATER_MARK.exists():
        pytest.skip("the peak of memory is measured on Linux only")
    if is_sanitized():
        pytest.skip("sanitizers keep what is freed")


def peak_of(call: str, given: str) -> float:
    """MiB that an expression takes above what is in use after the statements `given`, its result included."""
    need_peaks()
    code = f"from benchmarks.memory import peak\nimport torch, ctckit\n{given}\nprint(peak(lambda: {call})[1])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(  # noqa: S603  # our own code
        command, cwd=_ROOT, env=os.environ | MALLOC, capture_output=True, text=True, check=True
    )
    return float(done.stdout)
