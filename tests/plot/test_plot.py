"""The pictures are right: artists are read back from the axes and compared with the definition."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import ctckit
from tests.tools.aligned import align_one

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (after the choice of a drawing that needs no screen)
from matplotlib.collections import LineCollection  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.patches import StepPatch  # noqa: E402

from ctckit import plot  # noqa: E402
from ctckit.plot.fitted_text import FittedText  # noqa: E402
from ctckit.plot.style import PALETTE, colours_of  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Arc = tuple[tuple[int, int], tuple[int, int]]


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def arcs_of(ax: Axes) -> dict[str, set[Arc]]:
    """Read back the arcs (frame, state) -> (frame, state) of a trellis, by kind."""
    return {
        str(lines.get_label()): {tuple(tuple(int(z) for z in end) for end in arc) for arc in lines.get_segments()}  # type: ignore[misc]
        for lines in ax.collections
        if isinstance(lines, LineCollection)
    }


def arcs_by_enumeration(target: str, frames: int) -> set[Arc]:
    """List the arcs of every path that spells the target, by trying all monotonic paths."""
    states = "-" + "".join(f"{label}-" for label in target)
    arcs = set()
    for path in itertools.combinations_with_replacement(range(len(states)), frames):
        spelt = "".join(label for label, _ in itertools.groupby(states[s] for s in path) if label != "-")
        if spelt == target:
            arcs |= {((t, path[t]), (t + 1, path[t + 1])) for t in range(frames - 1)}
    return arcs


def bars_of(ax: Axes) -> list[tuple[str, np.ndarray]]:
    """Read back colour and height, frame by frame, of the filled curves."""
    bars = []
    for patch in ax.patches:
        if isinstance(patch, StepPatch):
            heights, _, baseline = patch.get_data()
            bars.append((to_hex(patch.get_facecolor()), heights - baseline))
    return bars


def names_of(ax: Axes) -> list[tuple[str, float]]:
    return [(text.get_text(), float(text.get_position()[0])) for text in ax.texts]


def occupancy(targets: list[int], frames: int = 12, classes: int = 5, **options: Any) -> torch.Tensor:
    logits = 3 * torch.randn(frames, classes)
    return ctckit.posteriors(logits, torch.tensor(targets), logits=True, **options)


# ----------------------------------------------------------------------------------------------------------- trellis


@pytest.mark.parametrize(
    ("target", "frames"), [("CAT", 3), ("CAT", 6), ("BEE", 5), ("AAA", 6), ("ABAB", 7), ("A", 1), ("A", 4), ("", 3)]
)
def test_trellis_draws_the_arcs_of_all_paths_that_spell_the_target(target: str, frames: int) -> None:
    arcs = arcs_of(plot.trellis(target, frames))

    assert set().union(*arcs.values()) == arcs_by_enumeration(target, frames)
    for kind, advance in {"stay": 0, "step": 1, "skip": 2}.items():
        assert all(end - start == advance for (_, start), (_, end) in arcs[kind])


def test_trellis_of_an_infeasible_target_has_no_arcs() -> None:
    assert not any(arcs_of(plot.trellis("BEE", 3)).values())  # it needs four


def test_trellis_names_states_and_frames() -> None:
    ax = plot.trellis([7, 12], blank="-")

    assert [text.get_text() for text in ax.get_yticklabels()] == ["-", "7", "-", "12", "-"]
    assert ax.get_yticks().tolist() == [0, 1, 2, 3, 4]
    assert ax.get_xticks().tolist() == [0, 1, 2, 3, 4]  # the two frames it needs, and three more
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first state on top


def test_trellis_takes_frames_from_occupancy_and_path() -> None:
    assert len(plot.trellis("ab", occupancy=occupancy([1, 2], 9, per_state=True)).get_xticks()) == 9
    ax = plot.trellis("ab", path=torch.tensor([1, 2, 3, 3]))
    assert len(ax.get_xticks()) == 4
    assert np.asarray(ax.lines[0].get_xydata()).tolist() == [[0, 1], [1, 2], [2, 3], [3, 3]]


def test_trellis_fills_states_by_occupancy() -> None:
    gamma = np.zeros((2, 3))
    gamma[:, 1] = 1

    circles = plot.trellis("a", occupancy=gamma).collections[-2]

    darkness = 3 - np.asarray(circles.get_facecolor())[:, :3].sum(1)
    where = [tuple(offset) for offset in np.asarray(circles.get_offsets()).astype(int).tolist()]
    assert {place for place, dark in zip(where, darkness, strict=True) if dark > 0.5} == {(0, 1), (1, 1)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": [0, 1, 3]}, "3 states.* each of the 4 frames"),
        ({"path": [0, 1, 3, 5]}, "states 0 to 4"),
        ({"path": [2, 2, 3, 4]}, "from state 2 to 4.* start in 0 or 1 and end in 3 or 4"),
        ({"path": [0, 1, 1, 2]}, "from state 0 to 2"),
        ({"path": [1, 2, 4, 4]}, "from state 2 to 4 in frame 2"),
        ({"path": [1, 3, 2, 3]}, "from state 3 to 2 in frame 2"),
        ({"occupancy": np.zeros((4, 4))}, r"\(4, 4\), but must be \(4, 5\) for 2 labels in 4 frames"),
        ({"occupancy": np.zeros(5)}, r"occupancy has shape \(5,\), but must have 2 dimensions"),
    ],
)
def test_trellis_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.trellis("ab", 4, **options)


def test_trellis_refuses_to_skip_between_equal_labels() -> None:
    plot.trellis("ab", path=[1, 3])
    with pytest.raises(ValueError, match="from state 1 to 3 in frame 1, but no arc does"):
        plot.trellis("aa", path=[1, 3, 3])


# -------------------------------------------------------------------------------------------------------- posteriors


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


# ---------------------------------------------------------------------------------------------------------- alignments


ALIGNED_PATH = [0, 2, 2, 0, 3, 4, 4, 1, 0, 3, 0, 0]
ALIGNED_LOGITS = 6.0 * torch.nn.functional.one_hot(torch.tensor(ALIGNED_PATH), 6).float()


def aligned(text: str = "CAT A", **options: Any) -> ctckit.Alignment:
    found: ctckit.Alignment = ctckit.align(ALIGNED_LOGITS, text, ["-", " ", "C", "A", "T", "X"], logits=True, **options)
    return found


def spans_of(ax: Axes) -> list[tuple[float, float]]:
    """Read back where the shaded rectangles begin and end, each once."""
    filled = [collection for collection in ax.collections if not isinstance(collection, LineCollection)]
    boxes = [collection.get_paths()[0].get_extents() for collection in filled if collection.get_paths()]
    return sorted({(round(box.x0, 6), round(box.x1, 6)) for box in boxes})


def test_alignment_names_and_spans() -> None:
    found = aligned(frame_duration=0.5, offset=1.0)
    ax = plot.alignment(found)
    names = dict(names_of(ax))
    expected = {"C": 2.0, "T": 4.0, "CAT": 3.0}  # the middles of the spans
    assert {name: names[name] for name in expected} == pytest.approx(expected)
    assert [name for name, _ in names_of(ax)] == ["C", "A", "T", "A", "CAT", "A"]
    spans = [(token.start_time, token.end_time) for token in found.tokens]
    assert spans_of(ax) == [pytest.approx(span) for span in spans]
    assert ax.get_xlim() == (1.0, 7.0)
    assert ax.get_xlabel() == "seconds"


def test_the_blank_of_the_alignment() -> None:
    """The default row of the blank is the blank of the alignment, which is from the vocabulary."""
    turned = ALIGNED_LOGITS[:, [5, 1, 2, 3, 4, 0]]
    found = align_one(turned, "CAT A", [None, " ", "C", "A", "T", "<blank>"], logits=True)
    for ax in (found.plot(turned), plot.alignment(found, turned, blank=5)):
        (cells,) = ax.images
        np.testing.assert_allclose(np.asarray(cells.get_array())[-1], turned.softmax(1)[:, 5].numpy(), atol=1e-6)
        assert ax.get_yticklabels()[-1].get_text() == "blank"


def test_alignment_on_emissions() -> None:
    """Rows are the classes of the transcript, and the path passes through the tokens."""
    found = aligned()
    ax = found.plot(ALIGNED_LOGITS)
    (cells,) = ax.images
    probs = ALIGNED_LOGITS.softmax(1)[:, [2, 3, 4, 1, 0]].T.numpy()
    np.testing.assert_allclose(np.asarray(cells.get_array()), probs, atol=1e-6)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["C", "A", "T", "' '", "blank"]
    row_of = dict(zip([2, 3, 4, 1, 0], ax.get_yticks(), strict=True))
    (line,) = [line for line in ax.lines if line.get_label() == "path"]
    x, y = (np.asarray(values, dtype=np.float64) for values in line.get_data())
    heights = [float(np.interp(t + 0.5, x, y)) for t in range(12)]
    assert heights == pytest.approx([row_of[clazz] for clazz in ALIGNED_PATH])
    assert ax.get_xlabel() == "frames"
    normalised = plot.alignment(found, ALIGNED_LOGITS.log_softmax(1)).images[0]
    np.testing.assert_allclose(np.asarray(normalised.get_array()), probs, atol=1e-6)


def test_alignment_over_sound_and_picture() -> None:
    wave = np.sin(np.arange(20000))
    ax = aligned(frame_duration=0.5).plot(waveform=wave)
    assert spans_of(ax)  # many samples: their range is filled
    ax = aligned(frame_duration=0.5).plot(waveform=wave[:600])
    assert any(np.size(line.get_xdata()) == 600 for line in ax.lines)
    ax = aligned().plot(image=np.zeros((8, 48)))
    assert ax.get_xlim() == (0, 48)
    assert ax.get_xlabel() == "pixels"
    assert spans_of(ax)[0] == (4, 12)  # frames of four pixels
    assert len(aligned().plot(ALIGNED_LOGITS, image=np.zeros((8, 48, 3))).images) == 2


def test_part_of_an_alignment() -> None:
    found = aligned(frame_duration=0.5)
    ax = found.plot(ALIGNED_LOGITS, waveform=np.ones(600), seconds=(2.1, 3.4))
    assert ax.get_xlim() == (2.1, 3.4)
    assert [name for name, _ in names_of(ax)] == ["A", "T", "CAT"]
    for seconds in ((7.0, 8.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="but the recording is from 0 to 6 seconds"):
            found.plot(seconds=seconds)


def test_alignments_of_all_kinds() -> None:
    """No tokens, no frames, wildcards, and many tokens."""
    plot.alignment(align_one(torch.zeros(5, 3), [], logits=True))
    plot.alignment(align_one(torch.zeros(0, 3), []), torch.zeros(0, 3))
    ax = plot.alignment(aligned("C*A", wildcard="*"), ALIGNED_LOGITS)
    assert "*" in dict(names_of(ax))
    many = align_one(torch.zeros(400, 3), [1, 2] * 100, logits=True)
    figure, ax = plt.subplots()
    assert plot.alignment(many, ax=ax) is ax
    figure.canvas.draw()


def test_alignments_that_do_not_fit() -> None:
    found = aligned()
    with pytest.raises(ValueError, match=r"emissions has shape \(11, 6\), but must be .* at least 12 frames and 5 cla"):
        found.plot(ALIGNED_LOGITS[:11])
    with pytest.raises(ValueError, match=r"emissions has shape \(12, 4\)"):
        found.plot(ALIGNED_LOGITS[:, :4])
    with pytest.raises(ValueError, match="image and waveform are both given"):
        found.plot(image=np.zeros((2, 2)), waveform=np.zeros(2))
    with pytest.raises(ValueError, match="waveform has shape"):
        found.plot(waveform=np.zeros((2, 2)))


def written_on(ax: Axes) -> list[FittedText]:
    """Draw the figure, and return the names that fit."""
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    return [text for text in ax.texts if isinstance(text, FittedText) and text.fits]


def overlaps(texts: Sequence[FittedText]) -> list[tuple[str, str]]:
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    return [(a, b) for (a, one), (b, other) in itertools.combinations(boxes, 2) if one.overlaps(other)]


def spoken_in(text: str, lengths: Sequence[int], gap: int = 0) -> ctckit.Alignment:
    """Align distinct letters of the given lengths in frames, with `gap` blanks around each."""
    path = [0] * gap + [label for i, n in enumerate(lengths, start=1) for label in [i] * n + [0] * gap]
    logits = 9.0 * torch.nn.functional.one_hot(torch.tensor(path), len(text) + 1)
    return align_one(logits, list(text), ["-", *text], word_separator="", logits=True)


def test_narrow_names_are_smaller_or_left_out() -> None:
    """Each name that is written lies within its span, at every size of the figure."""
    found = spoken_in("ABCDEFGH", [1, 1, 2, 2, 3, 3, 40, 40])
    ax = plot.alignment(found)
    figure = ax.figure
    assert len(ax.texts) == 8
    names, sizes = [], set()
    for inches in (2.0, 4.0, 8.0, 11.0, 16.0):
        figure.set_size_inches(inches, 1.5)  # type: ignore[union-attr]
        written = written_on(ax)
        for name in written:
            token = next(token for token in found.tokens if token.text == name.get_text())
            (left, _), (right, _) = ax.transData.transform([(token.start, 0), (token.end, 0)])
            box = name.get_window_extent()
            assert left < box.x0 < box.x1 < right
        names.append("".join(name.get_text() for name in written))
        sizes |= {float(name.get_fontsize()) for name in written}
    assert names[0] == "GH"
    assert names[-1] == "ABCDEFGH"
    assert names == sorted(names, key=len)
    assert max(sizes) == 9
    assert 6 <= min(sizes) < 9


def test_names_use_the_gaps_beside_their_spans() -> None:
    """Between narrow spans that are far apart, names are wider than the spans; they do not overlap."""
    ax = plot.alignment(spoken_in("WMQ", [1, 1, 1], gap=9))
    for inches in (11.0, 2.0):
        ax.figure.set_size_inches(inches, 1.5)  # type: ignore[union-attr]
        written = written_on(ax)
        assert [name.get_text() for name in written] == ["W", "M", "Q"]
        assert not overlaps(written)
    assert written[0].get_window_extent().width > np.diff(ax.transData.transform([(0, 0), (1, 0)])[:, 0])


def test_words_do_not_overlap() -> None:
    found = aligned("CAT A")
    long = dataclasses.replace(found.words[0], text="catastrophe " * 20)
    ax = plot.alignment(dataclasses.replace(found, words=(long, found.words[1])))
    assert not overlaps(written_on(ax))
    assert [name.get_text() for name in written_on(ax)] == ["C", "A", "T", "A", "A"]


def test_a_dollar_is_a_dollar() -> None:
    found = align_one(9.0 * torch.eye(3)[[0, 1, 1, 1, 1, 0, 2, 2, 2]], ["$x$", "b"], ["-", "$x$", "b"], logits=True)
    (name, _) = written_on(plot.alignment(found))
    assert name.get_text() == "$x$"
    assert not name.get_parse_math()


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


def pairs(values: Sequence[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(values))


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
