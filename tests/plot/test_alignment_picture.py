"""The picture of an alignment: its artists are compared with the spans and the emissions."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import ctckit
from tests.tools.aligned import align_one

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection

from ctckit import plot
from ctckit.plot.fitted_text import FittedText
from tests.plot.artists import names_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


# --------------------------------------------------------------------------------------------- names within their spans


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
