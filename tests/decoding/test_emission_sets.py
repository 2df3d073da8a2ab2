"""The emissions of real models, and those of the benchmarks: the search against the definition, to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benchmarks import cases, emission_sets

import ctckit
from tests.decoding import textbook
from tests.decoding.problems import core_beam

pytestmark = pytest.mark.usefixtures("core")

MOST_FRAMES = {1: 300, 10: 100, 100: 30, 500: 12}
PIECES = 32_000  # classes, of which the definition looks at each for each prefix


@pytest.mark.parametrize("width", MOST_FRAMES)
@pytest.mark.parametrize("name", cases.DECODING)
def test_the_same_beam(name: str, width: int) -> None:
    case = cases.DECODING[name]
    if case.C * width > 4e6:
        width = 30
    options: dict[str, Any] = {"beam_threshold": 10.0, "token_threshold": 0.0067} if "pruned" in name else {}
    for item in emission_sets.make(case).items[: 2 if case.C * width < 1e5 else 1]:
        x = torch.from_numpy(item)[: MOST_FRAMES.get(width, 12) if case.C < PIECES else 12]
        expected = textbook.beam_search(textbook.probabilities(x), beam_width=width, **options)
        assert core_beam(x, width, **options) == expected
        assert len(expected) == width or options


@pytest.mark.parametrize("name", ["speech phones", "captchas", "clean lines", "noisy lines"])
def test_what_models_say(name: str) -> None:
    """A wider beam finds more probable labellings on the whole, and no other where one is certified."""
    items = emission_sets.make(cases.DECODING[name]).items[:10]
    proved, better = 0, 0.0
    for item in items:
        x = torch.from_numpy(item)
        narrow, wide = (ctckit.beam_search(x, beam_width=width) for width in (10, 100))
        assert isinstance(narrow, ctckit.Decoding)
        assert isinstance(wide, ctckit.Decoding)
        assert narrow.score is not None
        assert wide.score is not None
        better += wide.score - narrow.score
        if narrow.certified:
            proved += 1
            assert wide.tokens == narrow.tokens
            assert wide.certified
    assert better > -1e-6
    assert proved >= {"speech phones": 3, "captchas": 10, "clean lines": 5, "noisy lines": 0}[name]
