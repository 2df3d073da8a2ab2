"""The core's search against its definition: the same prefixes, and the same scores to the bit."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
import torch

from ctckit import _core
from tests.decoding import textbook
from tests.decoding.problems import KINDS, core_beam, defined_beam, emissions

pytestmark = pytest.mark.usefixtures("core")

WIDTHS = (1, 2, 3, 5, 10, 50, 100, 500)
THRESHOLDS: dict[str, dict[str, float]] = {
    "beam": {"beam_threshold": 1.5},
    "beam, wide": {"beam_threshold": 6.0},
    "beam, a power of two": {"beam_threshold": math.log(2)},
    "token": {"token_threshold": 0.1},
    "token, high": {"token_threshold": 0.4},
    "blank": {"blank_threshold": 0.3},
    "blank, 0": {"blank_threshold": 0.0},
    "all": {"beam_threshold": 3.0, "token_threshold": 0.05, "blank_threshold": 0.5},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_textbook_is_the_definition(kind: str) -> None:
    """What the larger tests compare with."""
    for width, classes, name in itertools.product((1, 3, 20), (1, 2, 5, 9), ("", *THRESHOLDS)):
        options: dict[str, Any] = THRESHOLDS.get(name, {})
        x = emissions(kind, 7, classes, seed=width)
        expected = defined_beam(x, width, classes // 2, **options)
        found = textbook.beam_search(textbook.probabilities(x), beam_width=width, blank=classes // 2, **options)
        assert found == expected, (width, classes, name)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_widths(kind: str, width: int) -> None:
    for classes, frames in ((2, 14), (3, 12), (7, 9), (16, 6), (40, 4)):
        if width * classes * frames <= 60_000:
            x, blank = emissions(kind, frames, classes, seed=width), classes // 3
            assert core_beam(x, width, blank) == defined_beam(x, width, blank), (classes, frames)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [*range(1, 41), 64, 127, 128, 129, 130, 135, 150, 257, 1000])
def test_every_number_of_classes(classes: int, kind: str) -> None:
    """Of up to 128 classes, or as many as prefixes, all are summed; of more, those that matter are looked for."""
    r = random.Random(classes)  # noqa: S311
    for width in (1, 4, 24, *([classes - 1, classes, classes + 1] if 128 <= classes < 200 else [])):
        x = emissions(kind, 8, classes, seed=width)
        blank = r.choice((0, classes - 1, r.randrange(classes)))
        expected = textbook.beam_search(textbook.probabilities(x), beam_width=max(1, width), blank=blank)
        assert core_beam(x, max(1, width), blank) == expected, (width, blank)


@pytest.mark.parametrize("name", THRESHOLDS)
@pytest.mark.parametrize("classes", [3, 8, 40, 140])
def test_thresholds(classes: int, name: str) -> None:
    options: dict[str, Any] = THRESHOLDS[name]
    changed = 0
    for kind, width, seed in itertools.product(KINDS, (1, 3, 10, 60), range(3)):
        x, blank = emissions(kind, 9, classes, seed), seed % classes
        expected = textbook.beam_search(textbook.probabilities(x), beam_width=width, blank=blank, **options)
        found = core_beam(x, width, blank, **options)
        assert found == expected, (kind, width, seed)
        changed += found != core_beam(x, width, blank)
    assert changed > 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [*range(1, 41), 64, 127, 128, 129, 503, 504, 505, 520])
def test_token_thresholds_of_every_number_of_classes(classes: int, dtype: torch.dtype) -> None:
    """Up to 504 classes are read in groups of eight: those that have no class of interest are skipped."""
    r = random.Random(classes)  # noqa: S311
    for kind, width in itertools.product(
        ("held", "sharp", "masked", "wide"), (1, 12, *([classes] if classes > 99 else []))
    ):
        x = emissions(kind, 8, classes, seed=width).to(dtype)
        options: dict[str, Any] = {"token_threshold": r.choice((1e-300, 0.001, 0.05, 0.3))}
        blank = r.choice((0, classes - 1, r.randrange(classes)))
        expected = textbook.beam_search(textbook.probabilities(x), beam_width=width, blank=blank, **options)
        assert core_beam(x, width, blank, **options) == expected, (kind, width, blank)


@pytest.mark.parametrize("classes", [2, 30, 140])
def test_a_class_at_the_threshold_itself(classes: int) -> None:
    """It makes new prefixes; at a threshold that is larger by a rounding it does not."""
    r = random.Random(classes)  # noqa: S311
    for _ in range(40):
        x = torch.full((1, classes), -20.0, dtype=torch.float64)
        x[0, classes - 1] = math.log(r.uniform(0.001, 0.4))
        p = _core.exponential(float(x[0, classes - 1]))
        assert [tokens for tokens, _ in core_beam(x, 5, token_threshold=p)] == [(classes - 1,), ()]
        assert [tokens for tokens, _ in core_beam(x, 5, token_threshold=math.nextafter(p, 1))] == [()]


@pytest.mark.parametrize("classes", [4, 140])
def test_a_frame_in_which_no_class_is_above_the_threshold(classes: int) -> None:
    """The prefixes can only stay, and here they cannot: no labelling is left."""
    x = torch.full((3, classes), -math.inf, dtype=torch.float64)
    x[0, 1] = 0.0
    x[1, 2:4] = math.log(0.4)
    x[2, 0] = 0.0
    assert defined_beam(x, 8, token_threshold=0.5) == []
    assert core_beam(x, 8, token_threshold=0.5) == []
    assert core_beam(x, 8, token_threshold=0.4) == defined_beam(x, 8, token_threshold=0.4) != []


@pytest.mark.parametrize("classes", [4, 140])
def test_a_frame_that_only_a_class_without_probability_would_outlive(classes: int) -> None:
    """Below some -708 nats is 0, also where the frame's best class is far below 0."""
    x = torch.full((2, classes), -math.inf, dtype=torch.float64)
    x[0, 1] = 0.0
    x[1] = torch.tensor([-750.0, -750.0, *[-100.0] * (classes - 2)])
    assert defined_beam(x, 8, token_threshold=0.5) == []
    assert core_beam(x, 8, token_threshold=0.5) == []
    assert core_beam(x, 8) == defined_beam(x, 8) != []


@pytest.mark.parametrize("offset", [-600.0, -3000.0, 500.0, 2000.0])
@pytest.mark.parametrize("classes", [4, 140])
def test_thresholds_are_of_probabilities_however_far_from_normalised(classes: int, offset: float) -> None:
    """Where everything is far above 1, nothing is below a threshold; where far below, everything is."""
    x = emissions("flat", 4, classes) + offset
    plain = core_beam(x, 20)
    assert (core_beam(x, 20, token_threshold=1.0) == plain) == (offset > 0)
    blanks = core_beam(x, 20, blank_threshold=0.999)
    assert (blanks == plain) == (offset < 0)
    assert offset < 0 or [tokens for tokens, _ in blanks] == [()]


@pytest.mark.parametrize("classes", [4, 140])
def test_the_beam_threshold_in_frames_of_blanks(classes: int) -> None:
    """A prefix at the threshold itself may fall below it by a rounding."""
    r = random.Random(1)  # noqa: S311
    fell = 0
    for _ in range(300):
        threshold = r.uniform(0.3, 3)
        x = torch.full((6, classes), -50.0, dtype=torch.float64)
        x[0, 0], x[0, 1] = math.log(0.1), math.log(0.1) - threshold
        x[1:, 0] = torch.tensor([math.log(r.uniform(0.3, 1)) for _ in range(5)])
        options: dict[str, Any] = {"beam_threshold": threshold, "blank_threshold": 0.2}
        beams = [defined_beam(x[:frames], 5, **options) for frames in (1, 6)]
        assert core_beam(x, 5, **options) == beams[1]
        fell += len(beams[0]) > len(beams[1])
    assert fell > 20


@pytest.mark.parametrize("classes", [4, 140])
def test_products_that_are_rounded_to_the_same_number(classes: int) -> None:
    """Class 3 is more probable than class 2 by a rounding; if their products are equal, class 2 comes first."""
    r = random.Random(1)  # noqa: S311
    ties = 0
    for _ in range(1500):
        rows = [[0.01, 0.9 - 0.2 * r.random()], [0.5 - 0.1 * r.random(), 0.5], [0.01, 0.4]]
        x = torch.full((3, classes), -50.0, dtype=torch.float64)
        x[:, :2] = torch.tensor(rows, dtype=torch.float64).log()
        x[2, 2] = math.log(0.2 + 0.05 * r.random())
        x[2, 3] = math.nextafter(float(x[2, 2]), 1.0)
        p = textbook.probabilities(x)
        expected = textbook.beam_search(p, beam_width=1)
        assert core_beam(x, 1) == expected
        ties += p[2, 3] > p[2, 2] and expected[0][0][-1:] == (2,)
    assert ties > 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 5, 16, 29, 131])
def test_dtypes_are_read_as_they_are(classes: int, dtype: torch.dtype) -> None:
    for kind, width in itertools.product(KINDS, (1, 7, 40)):
        x, blank = emissions(kind, 8, classes).to(dtype), classes - 1
        expected = textbook.beam_search(textbook.probabilities(x), beam_width=width, blank=blank)
        assert core_beam(x, width, blank) == expected, (kind, width)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [1, 2, 5, 16, 29, 131])
def test_logits(classes: int, dtype: torch.dtype) -> None:
    """Each frame is divided by its sum, which is added up in one order for every instruction set."""
    for kind, width, name in itertools.product(KINDS, (1, 7, 40), ("", "all", "token, high")):
        options: dict[str, Any] = THRESHOLDS.get(name, {})
        x = (1.5 * emissions(kind, 8, classes) + 3).to(dtype)
        p = textbook.probabilities_of_logits(x)
        expected = textbook.beam_search(p, beam_width=width, blank=classes // 2, **options)
        assert core_beam(x, width, classes // 2, logits=True, **options) == expected, (kind, width, name)


def test_a_wide_beam_of_many_candidates() -> None:
    """More new prefixes than there is room for."""
    for kind in ("uniform", "flat", "nearly equal", "ties"):
        x = emissions(kind, 4, 200)
        p = textbook.probabilities(x)
        for width in (1, 20, 150, 2000):
            assert core_beam(x, width) == textbook.beam_search(p, beam_width=width), (kind, width)


def test_long_searches() -> None:
    """The tree of prefixes is freed again and again, and prefixes come back."""
    for kind, width in (("flat", 40), ("ties", 40), ("held", 100), ("sharp", 100)):
        x = emissions(kind, 1500, 6)
        assert core_beam(x, width) == textbook.beam_search(textbook.probabilities(x), beam_width=width), kind
