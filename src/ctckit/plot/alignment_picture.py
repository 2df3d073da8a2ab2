"""A picture of an alignment: words and token spans over the sound or picture, and the path through the emissions."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ctckit.plot.style import (
    ACCENT,
    GREY,
    INK,
    PALE,
    PALETTE,
    PAPER,
    Array,
    ArrayLike,
    as_array,
    colour_map,
    colours_of,
    new_axes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from ctckit.output.spans import AlignedToken, AlignedWord, AlignmentLike

_ROW, _SOURCE, _GAP = 0.3, 1.0, 0.12  # heights of the panels
_CLASS, _LEAST, _MOST = 0.105, 0.6, 2.6  # height of a class of the emissions, and of all
_WIDTH = 11.0  # inches
_TOKEN_TYPE, _WORD_TYPE = 9, 10  # largest font sizes, in points
_BLANK_ROW = "blank"


class _Axis(NamedTuple):
    """The horizontal axis: the whole recording, and the part that is shown."""

    start: float
    per_frame: float
    frames: int
    shown: tuple[float, float]
    unit: str

    def at(self, frame: float) -> float:
        return self.start + frame * self.per_frame

    @property
    def whole(self) -> tuple[float, float]:
        return self.start, self.at(self.frames)

    def shows(self, row: AlignedWord | AlignedToken) -> bool:
        return self.at(row.end) > self.shown[0] and self.at(row.start) < self.shown[1]


def alignment(
    alignment: AlignmentLike,
    emissions: ArrayLike | None = None,
    *,
    waveform: ArrayLike | None = None,
    image: ArrayLike | None = None,
    seconds: tuple[float, float] | None = None,
    blank: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an alignment: words, token spans, the sound or picture, and the path through the emissions.

    From top to bottom:

    1. the words;
    2. the tokens, darker where more confident;
    3. the waveform or picture, with the spans shaded;
    4. with `emissions`, the probability of each class of the transcript in each frame, and the path as a line.

    Equal tokens have equal colours, and different neighbours have different ones. A name is set in smaller type where
    its place is narrow, and left out where even that does not fit. The axis is in seconds if the alignment has times,
    else in pixels of the picture, else in frames.

    Args:
        alignment: alignment of one item, from `ctckit.align`.
        emissions: (T, C) log-probabilities or logits that were aligned; T may exceed the number of frames.
        waveform: (samples,) of the whole recording; it lasts as long as the frames.
        image: (H, W) picture or spectrogram, dark where large, or (H, W, 3) colours from 0 to 1, in place of the
            waveform.
        seconds: (from, to), the part of the axis to show; None for all of it.
        blank: class of the blank among the emissions; None for the blank of the alignment.
        ax: where to draw; a new figure by default.

    Returns:
        The axes that were drawn on.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if shapes do not fit each other, or `seconds` lies outside the recording.

    Example:
        >>> import torch, ctckit
        >>> from ctckit import plot
        >>> path = torch.tensor([0, 2, 2, 0, 3, 4, 4, 1, 0, 3, 0, 0])
        >>> emissions = 6.0 * torch.nn.functional.one_hot(path, 5)
        >>> found = ctckit.align(emissions, "CAT A", ["-", " ", "C", "A", "T"], logits=True, frame_duration=0.02)
        >>> ax = plot.alignment(found, emissions, waveform=torch.randn(3840))
    """
    if image is not None and waveform is not None:
        raise ValueError("image and waveform are both given, but there is room for one: leave one of them out")
    pixels = None if image is None else as_array("image", image, 2, 3)
    samples = None if waveform is None else as_array("waveform", waveform, 1)
    blank = alignment.blank if blank is None else blank
    probs = None if emissions is None else _probabilities(emissions, alignment, blank)
    axis = _axis(alignment, pixels, seconds)
    tokens = [token for token in alignment.tokens if len(token) and axis.shows(token)]
    words = [word for word in alignment.words if axis.shows(word)]
    named = {token.id: token.text for token in tokens if token.id is not None}

    emission_height = float(np.clip(_CLASS * (len(named) + 1), _LEAST, _MOST)) if probs is not None else 0.0
    source_height = _SOURCE if samples is not None or pixels is not None else 0.0
    bottoms = np.cumsum([0.0, emission_height + _GAP * (probs is not None), source_height, _ROW, _ROW * bool(words)])
    ax = ax or new_axes(_WIDTH, 0.6 + 1.25 * float(bottoms[-1]))

    if probs is not None and len(probs):
        _draw_emissions(ax, probs, alignment, named, axis, emission_height, blank)
    else:
        ax.set_yticks([])
    # Of the whole alignment, so that each part of it has the same colours. Separators of words are grey.
    spoken = [token for word in alignment.words for token in word.tokens] or alignment.tokens
    hues = dict(zip(map(id, spoken), colours_of([token.text for token in spoken]), strict=True))
    _draw_spans(ax, tokens, [hues.get(id(token), GREY) for token in tokens], axis, (bottoms[1], bottoms[3]))
    if samples is not None:
        _draw_waveform(ax, samples, axis, bottoms[1], source_height)
    if pixels is not None:
        ink = colour_map(INK) if pixels.ndim == 2 else None
        ax.imshow(pixels, cmap=ink, extent=(*axis.whole, bottoms[1], bottoms[2]), aspect="auto", zorder=0.4)
    if words:
        _draw_words(ax, words, axis, (bottoms[3], bottoms[4]))
    ax.set(xlim=axis.shown, ylim=(0, bottoms[-1]))
    ax.set_xlabel(axis.unit, color=INK)
    ax.tick_params(axis="x", colors=GREY, labelcolor=INK, length=2.5)
    ax.tick_params(axis="y", length=0, labelcolor=INK, labelsize=7)
    ax.spines[["left", "top", "right"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    return ax


def _axis(alignment: AlignmentLike, pixels: Array | None, seconds: tuple[float, float] | None) -> _Axis:
    frames = alignment.frames
    if alignment.frame_duration is not None:
        start, per_frame, unit = alignment.offset, alignment.frame_duration, "seconds"
    elif pixels is not None:
        start, per_frame, unit = 0.0, pixels.shape[1] / max(1, frames), "pixels"
    else:
        start, per_frame, unit = 0.0, 1.0, "frames"
    whole = start, start + max(1, frames) * per_frame
    shown = whole if seconds is None else (float(seconds[0]), float(seconds[1]))
    if not (shown[0] < shown[1] and shown[1] > whole[0] and shown[0] < whole[1]):
        raise ValueError(f"seconds is {seconds}, but the recording is from {whole[0]:g} to {whole[1]:g} {unit}")
    return _Axis(start, per_frame, frames, shown, unit)


def _probabilities(emissions: ArrayLike, alignment: AlignmentLike, blank: int) -> Array:
    x = as_array("emissions", emissions, 2)
    top = max((token.id for token in alignment.tokens if token.id is not None), default=0)
    if len(x) < alignment.frames or x.shape[1] <= max(top, blank):
        raise ValueError(
            f"emissions has shape {x.shape}, but must be (T, C) of the item that was aligned, with at least "
            f"{alignment.frames} frames and {max(top, blank) + 1} classes"
        )
    x = x[: alignment.frames]
    if x.size:
        x = x - x.max(1, keepdims=True)
    weights = np.exp(x)
    probs: Array = weights / weights.sum(1, keepdims=True)
    return probs


def _draw_emissions(
    ax: Axes, probs: Array, alignment: AlignmentLike, named: dict[int, str], axis: _Axis, height: float, blank: int
) -> None:
    """Draw a row of cells per class of the transcript, in the order of first use, and the blank below."""
    classes = [*named, blank]
    first = max(0, int((axis.shown[0] - axis.start) / axis.per_frame) - 1)
    end = min(axis.frames, int((axis.shown[1] - axis.start) / axis.per_frame) + 2)
    ax.imshow(
        probs[first:end, classes].T,
        cmap=colour_map(PALETTE[0]),
        vmin=0,
        vmax=1,
        extent=(axis.at(first), axis.at(end), 0, height),
        aspect="auto",
        interpolation="none",
        zorder=0.3,
    )
    row_height = height / len(classes)
    middle = {clazz: height - (row + 0.5) * row_height for row, clazz in enumerate(classes)}
    rows = np.full(axis.frames, middle[blank])
    for token in alignment.tokens:
        rows[token.start : token.end] = np.nan if token.id is None else middle.get(token.id, np.nan)
    edges = axis.start + axis.per_frame * np.arange(first, end + 1)
    x = np.repeat(edges, 2)[1:-1]
    ax.plot(x, np.repeat(rows[first:end], 2), color=ACCENT, linewidth=1.6, alpha=0.9, zorder=1.5, label="path")
    names = [name if name.strip() else repr(name) for name in named.values()]
    if row_height >= 0.8 * _CLASS:
        ax.set_yticks([middle[clazz] for clazz in classes], [*names, _BLANK_ROW])
    else:
        ax.set_yticks([])
    ax.hlines(height, *axis.whole, color=PALE, linewidth=0.8)


def _draw_spans(
    ax: Axes,
    tokens: Sequence[AlignedToken],
    colours: Sequence[str],
    axis: _Axis,
    extent: tuple[float, float],
) -> None:
    """Shade the spans of the tokens on the source, and write their names in the row above."""
    bottom, top = extent
    for token, colour in zip(tokens, colours, strict=True):
        start, end = axis.at(token.start), axis.at(token.end)
        confidence = 1.0 if token.confidence is None else token.confidence
        if top - _ROW > bottom:
            ax.fill_between([start, end], bottom, top - _ROW, color=colour, alpha=0.16, linewidth=0, zorder=0.5)
        # Light enough for dark text even where the token is certain.
        ax.fill_between([start, end], top - _ROW, top, color=colour, alpha=0.1 + 0.5 * confidence, linewidth=0)
    # A white line between the spans, also between two equal tokens.
    bounds = [axis.at(token.start) for token in tokens] + [axis.at(token.end) for token in tokens]
    ax.vlines(bounds, top - _ROW, top, color=PAPER, linewidth=0.6)
    _draw_names(ax, [token for token in tokens if token.text.strip()], axis, top - _ROW / 2, _TOKEN_TYPE)


def _draw_names(ax: Axes, rows: Sequence[AlignedWord | AlignedToken], axis: _Axis, y: float, largest: int) -> None:
    """Write each name at the middle of its span. Its room ends at the axes, and halfway to the neighbouring spans."""
    from ctckit.plot.fitted_text import FittedText  # noqa: PLC0415 (optional, see `ctckit.plot`)

    weight = "bold" if largest == _TOKEN_TYPE else "normal"
    halfway = [(axis.at(left.end) + axis.at(right.start)) / 2 for left, right in pairwise(rows)]
    for row, left, right in zip(rows, [axis.shown[0], *halfway], [*halfway, axis.shown[1]], strict=bool(rows)):
        middle = (axis.at(row.start) + axis.at(row.end)) / 2
        room = 2 * min(middle - left, right - middle)
        ax.add_artist(FittedText(middle, y, row.text, room, largest, color=INK, fontweight=weight))


def _draw_words(ax: Axes, words: Sequence[AlignedWord], axis: _Axis, extent: tuple[float, float]) -> None:
    bottom, top = extent
    for word in words:
        start, end = axis.at(word.start), axis.at(word.end)
        ax.plot([start, end], [bottom + 0.06] * 2, color=INK, linewidth=1.4, solid_capstyle="butt", clip_on=True)
    _draw_names(ax, words, axis, (bottom + top) / 2 + 0.05, _WORD_TYPE)


def _draw_waveform(ax: Axes, samples: Array, axis: _Axis, bottom: float, height: float) -> None:
    """Draw the samples; if there are 6,000 or more, draw the range of each group of neighbours."""
    start, end = axis.whole
    times = start + (np.arange(len(samples)) + 0.5) * (end - start) / max(1, len(samples))
    shown = (times >= axis.shown[0]) & (times <= axis.shown[1])
    times, samples = times[shown], samples[shown]
    loudest = max(float(np.abs(samples).max(initial=0.0)), np.finfo(np.float64).tiny)
    samples = bottom + height / 2 + samples * (0.46 * height / loudest)
    step = len(samples) // 3000
    if step > 1:
        whole = len(samples) // step * step
        times, groups = times[:whole:step], samples[:whole].reshape(-1, step)
        ax.fill_between(times, groups.min(1), groups.max(1), color=INK, linewidth=0.3, zorder=0.8)
    else:
        ax.plot(times, samples, color=INK, linewidth=0.6, zorder=0.8)
