"""Work grows with the length of a text, not with its square. A text may be a whole book, a word a page of Chinese."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Literal

import pytest

import ctckit
from tests.fuzz.fuzz_vocabulary import ALPHABETS

UNITS = {
    "unknown": "\ufffd",
    "digits apart": "a1",
    "composed": "e\u0301x",
    "words": "ab cd ",
    "dots": "a.. ",
    "names": "<unk> a ",
}


def calls_in(function: Callable[[], object]) -> int:
    """Count the calls of functions, including those written in C. The number is the same on every machine."""
    calls = 0

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("unknown", ["skip", "wildcard"])
@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("alphabet", [0, 3, 4, 6], ids=["letters", "sentencepiece", "wordpiece", "bytes"])
def test_work_is_linear(alphabet: int, name: str, unknown: Literal["skip", "wildcard"]) -> None:
    vocabulary = ctckit.Vocabulary(ALPHABETS[alphabet])
    short, long = (UNITS[name] * (count // len(UNITS[name])) for count in (300, 2400))
    assert vocabulary.encode(long, unknown=unknown).text == long
    few, many = (calls_in(partial(vocabulary.encode, text, unknown=unknown)) for text in (short, long))
    assert many < 10 * few  # eight times as long; the square would be 64 times


def test_the_count_notices_a_square() -> None:
    def squared(length: int) -> None:
        for _ in range(length * length):
            abs(1)

    assert calls_in(lambda: squared(80)) > 60 * calls_in(lambda: squared(10))
