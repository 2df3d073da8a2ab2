"""The colours of a picture: neighbours differ, and equal names have the same."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.tools.aligned import align_one

pytest.importorskip("matplotlib")

from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from ctckit import plot
from ctckit.plot.style import PALETTE, colours_of
from tests.plot.artists import bars_of, occupancy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pairs(values: Sequence[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(values))


@pytest.mark.parametrize("names", [list("ACCB"), ["a", "k", "u", "a"], list("kaukaku"), ["", "\ud800", ""], ["a"], []])
def test_neighbours_differ_in_colour_and_equal_names_do_not(names: list[str]) -> None:
    colours = colours_of(names)
    assert len(colours) == len(names)
    assert all((a == b) == (x == y) for (a, b), (x, y) in zip(pairs(colours), pairs(names), strict=True))
    assert len(set(zip(names, colours, strict=True))) == len(set(names))
    assert set(colours) <= set(PALETTE)


def test_neighbours_differ_in_colour_even_if_the_palette_is_too_small() -> None:
    """Each of 14 names is a neighbour of each other, so ten colours are too few for one colour per name."""
    names = [name for pair in itertools.permutations("abcdefghijklmn", 2) for name in pair]
    assert all(a != b for (a, b), (x, y) in zip(pairs(colours_of(names)), pairs(names), strict=True) if x != y)


def test_digits_have_ten_colours() -> None:
    assert len(set(colours_of([str(digit) for digit in range(10)]))) == 10


def token_colours(ax: Axes) -> list[str]:
    """Read back the colours of the tokens, from left to right."""
    fills = [lines for lines in ax.collections if not isinstance(lines, LineCollection)]
    return [to_hex(np.asarray(fill.get_facecolor())[0]) for fill in fills]


def test_tokens_beside_each_other_differ_in_colour() -> None:
    """The first choice of a, k and u is the same colour. Separators are grey. A part has the colours of the whole."""
    found = align_one(
        9.0 * torch.nn.functional.one_hot(torch.tensor([2, 3, 4, 3, 1, 2, 4]), 5).float(),
        "akuk au", ["-", " ", "a", "k", "u"], logits=True, frame_duration=1.0,
    )  # fmt: skip
    whole = token_colours(plot.alignment(found))
    names = [token.text for token in found.tokens]
    assert len(whole) == 7
    assert all(a != b for a, b in pairs(whole))
    assert len(set(zip(names, whole, strict=True))) == 4
    assert token_colours(plot.alignment(found, seconds=(2.5, 7.0))) == whole[2:]
    bars = bars_of(plot.posteriors(occupancy([1, 2, 3], per_state=True), "aku"))
    assert len(bars) == 3
    assert all(a != b for a, b in pairs([colour for colour, _ in bars]))
