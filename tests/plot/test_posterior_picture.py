"""The picture of posteriors: its artists are compared with the definition."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch

from ctckit import plot
from tests.plot.artists import bars_of, names_of, occupancy


def test_curves_per_state_are_the_labels_occupancies_at_their_expected_frames() -> None:
    gamma = occupancy([1, 3, 3, 2], per_state=True)

    ax = plot.posteriors(gamma, "ACCB", extent=(0.0, 6.0))

    bars, names = bars_of(ax), names_of(ax)
    assert [name for name, _ in names] == ["A", "C", "C", "B"]
    seconds = (torch.arange(12) + 0.5) / 2
    for label, ((colour, bar), (_, x)) in enumerate(zip(bars, names, strict=True)):
        own = gamma[:, 2 * label + 1]
        np.testing.assert_allclose(bar, own, atol=1e-6)
        assert x == pytest.approx(float((own * seconds).sum() / own.sum()), abs=1e-4)
        assert (colour == bars[1][0]) == (label in {1, 2})  # equal labels, and only they, look the same
    assert ax.get_xlim() == (0, 6)


def test_curves_per_class_leave_out_blank_and_absent_classes() -> None:
    gamma = occupancy([1, 3, 1])

    bars = bars_of(plot.posteriors(gamma))

    assert len(bars) == 2
    np.testing.assert_allclose(bars[0][1], gamma[:, 1], atol=1e-6)
    np.testing.assert_allclose(bars[1][1], gamma[:, 3], atol=1e-6)
    assert len(bars_of(plot.posteriors(gamma, blank=None))) == 3


def test_curves_per_class_name_every_occurrence() -> None:
    gamma = np.zeros((10, 3))
    gamma[:, 0] = 1
    gamma[[2, 3, 7]] = [0, 0, 1]

    assert names_of(plot.posteriors(gamma, ["", "a", "b"])) == [("b", 3.0), ("b", 7.5)]


def test_an_infeasible_item_is_drawn_empty() -> None:
    ax = plot.posteriors(occupancy([1, 1], frames=2, per_state=True), "aa")

    assert not bars_of(ax)
    assert not names_of(ax)


def test_heatmap_has_a_named_row_per_column_the_first_on_top() -> None:
    gamma = occupancy([1, 2], per_state=True)

    ax = plot.posteriors(gamma, "ab", kind="heatmap")

    np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), gamma.T, atol=1e-6)
    assert tuple(ax.images[0].get_extent()) == (0, 12, 0, 5)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_yticks().tolist() == [3.5, 1.5]


@pytest.mark.parametrize("kind", ["curves", "heatmap"])
@pytest.mark.parametrize("colours", [(), (3,)])
def test_a_picture_stands_above_on_the_same_axis_with_square_pixels(kind: Any, colours: tuple[int, ...]) -> None:
    gamma = occupancy([1, 2], per_state=True)  # 12 frames, each two pixels of the picture wide

    ax = plot.posteriors(gamma, "ab", kind=kind, image=np.zeros((8, 24, *colours)))
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]

    left, right, bottom, top = ax.images[-1].get_extent()
    assert (left, right) == ax.get_xlim() == (0, 24)
    assert top == ax.get_ylim()[1]
    (x0, y0), (x1, y1) = ax.transData.transform([(left, bottom), (right, top)])
    assert (x1 - x0) / 24 == pytest.approx((y1 - y0) / 8)


def test_a_waveform_stands_above_on_the_same_axis() -> None:
    gamma = occupancy([1, 2], per_state=True)

    ax = plot.posteriors(gamma, "ab", waveform=torch.linspace(-1, 1, 100), extent=(0.0, 2.0))

    x, y = np.asarray(ax.lines[0].get_xydata()).T
    np.testing.assert_allclose(x, (np.arange(100) + 0.5) / 50)
    assert y.min() > 1
    assert y.max() == pytest.approx(ax.get_ylim()[1])
    plot.posteriors(gamma, "ab", waveform=np.zeros(0))
    plot.posteriors(gamma, "ab", waveform=np.zeros(9))


def test_known_spans_are_shaded_in_their_labels_colours() -> None:
    ax = plot.posteriors(occupancy([1, 2], per_state=True), "ab", spans=[[1, 3], [6, 11]])

    bands = [patch for patch in ax.patches if not isinstance(patch, StepPatch)]
    assert [patch.get_extents().transformed(ax.transData.inverted()).intervalx.tolist() for patch in bands] == [
        pytest.approx([1, 3]),
        pytest.approx([6, 11]),
    ]
    assert [to_hex(band.get_facecolor()) for band in bands] == [colour for colour, _ in bars_of(ax)]


def test_it_draws_on_the_axes_that_it_is_given() -> None:
    _, ax = plt.subplots()

    assert plot.posteriors(np.zeros((3, 3)), ax=ax) is ax
    assert plot.trellis("a", 2, ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_numbers_come_from_tensors_of_any_dtype_and_labels_from_tensors_too() -> None:
    gamma = occupancy([1, 2], per_state=True).to(torch.bfloat16).requires_grad_()

    assert [name for name, _ in names_of(plot.posteriors(gamma, torch.tensor([1, 2])))] == ["1", "2"]


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 6), {"labels": "ab"}, r"6 columns and labels has 2 names.*2S \+ 1 columns"),
        ((4, 5), {"labels": "ab", "image": np.zeros((2, 4)), "waveform": np.zeros(4)}, "leave one of them out"),
        ((4, 5), {"labels": "ab", "spans": [[0, 1]]}, r"spans has shape \(1, 2\).* labels 2 names"),
        ((4, 5), {"spans": np.zeros((5, 2))}, r"per state"),
        ((4, 5), {"kind": "pie"}, "'pie', but must be one of 'curves', 'heatmap'"),
        ((4, 5, 1), {}, "must have 2 dimensions"),
        ((4, 5), {"image": np.zeros(4)}, "image has shape .* 2 or 3 dimensions"),
    ],
)
def test_posteriors_refuses(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.posteriors(np.zeros(shape), **options)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)

    with pytest.raises(ImportError, match=r"pip install ctckit\[plot\]"):
        plot.trellis("ab")
    with pytest.raises(ImportError, match=r"pip install ctckit\[plot\]"):
        plot.posteriors(np.zeros((3, 3)))
