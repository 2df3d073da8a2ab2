"""Time grows with the length of a text, not with its square: a whole book is one text, a page of Chinese one word."""

from __future__ import annotations

import time
from typing import Literal

import pytest

import ctckit
from fuzz_vocabulary import ALPHABETS

UNITS = {"unknown": "\ufffd", "digits apart": "a1", "composed": "e\u0301x", "words": "ab cd ", "dots": "a.. "}


@pytest.mark.parametrize("unknown", ["skip", "wildcard"])
@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("alphabet", [0, 3, 4, 6], ids=["letters", "sentencepiece", "wordpiece", "bytes"])
def test_time_is_linear(alphabet: int, name: str, unknown: Literal["skip", "wildcard"]) -> None:
    vocabulary = ctckit.Vocabulary(ALPHABETS[alphabet])
    seconds = []
    for count in (300, 2400):
        text = UNITS[name] * (count // len(UNITS[name]))
        start = time.process_time()
        assert vocabulary.encode(text, unknown=unknown).text == text
        seconds.append(time.process_time() - start)
    assert seconds[1] < 0.2 + 24 * seconds[0]  # eight times as long; a square would be 64 times
