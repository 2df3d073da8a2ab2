"""Runs under sanitizers (`make sanitize`): whether this is one, and which cases it leaves out."""

from __future__ import annotations

import os
import zlib
from typing import Final

import pytest

NUMBERS_ALONE: Final = (
    "alignment/test_forced_pruning.py",
    "backends/test_numerics.py",
    "backends/test_simd.py",
    "fuzz/test_fuzz.py",
    "loss/test_band.py",
)
"""Tests whose cases mostly differ in numbers, not in what memory they touch. Sanitizers watch a third of them."""


def is_sanitized() -> bool:
    """Whether sanitizers watch the core, and nothing else."""
    return "CTCKIT_SANITIZED" in os.environ


def thin_out(items: list[pytest.Item]) -> list[pytest.Item]:
    """Take two thirds of the cases of `NUMBERS_ALONE` out of the list, and return them."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:  # by a hash, so that every instruction set and every other parameter keeps a third of its cases
        is_kept = zlib.crc32(item.nodeid.encode()) % 3 == 0 or not item.path.as_posix().endswith(NUMBERS_ALONE)
        (kept if is_kept else left_out).append(item)
    items[:] = kept
    return left_out
