"""The posteriors of a model, below the picture or sound that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from ctckit.plot.style import GREY, INK, PALETTE, Array, ArrayLike, as_array, as_names, colour_map, colours_of, new_axes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

Kind: TypeAlias = Literal["curves", "heatmap"]

_BLANK = -1  # in place of the column of the blank, which is not drawn
_INVISIBLE = 0.01  # a curve that never exceeds this is less than a pixel high


def posteriors(
    occupancy: ArrayLike,
    labels: Iterable[object] | None = None,
    *,
    blank: int | None = 0,
    kind: Kind = "curves",
    image: ArrayLike | None = None,
    waveform: ArrayLike | None = None,
    spans: ArrayLike | None = None,
    extent: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the probability that each label is emitted in each frame, below the picture or sound that was read.

    The occupancy is the result of `ctckit.posteriors` for one item. With one column per *state* (``per_state=True``)
    each label of the target is drawn separately, even if it occurs twice, and its name stands at its expected frame.
    With one column per *class*, all occurrences of a label are one curve. Equal names have equal colours, and different
    neighbours have different ones.

    Args:
        occupancy: (T, 2S + 1) per state, or (T, C) per class; values from 0 to 1. Pass only the item's own frames.
        labels: names of the target's S labels (per state), or of all C classes (per class). With None the columns are
            classes, and their names are their numbers.
        blank: column of the blank if the columns are classes; None if there is none.
        kind: 'curves' stacks the occupancies of the labels; the rest up to 1 is the blank and stays white. 'heatmap'
            draws a row of cells per column.
        image: (H, W) picture, dark where large, or (H, W, 3) colours from 0 to 1, drawn above on the same axis with
            square pixels. Each of the T frames is W / T columns wide.
        waveform: (samples,) drawn above instead of a picture.
        spans: (S, 2) known begin and end of each label, in the units of the horizontal axis, shaded in the label's
            colour. Needs occupancy per state.
        extent: begin of the first frame and end of the last one on the horizontal axis: by default (0, W) with a
            picture, else (0, T). For an axis in seconds pass (0.0, duration).
        ax: where to draw; a new figure by default.

    Returns:
        The axes that were drawn on.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if shapes do not fit each other.

    Example:
        >>> import torch, ctckit
        >>> from ctckit import plot
        >>> logits = 5 * torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
        >>> occupancy = ctckit.posteriors(logits, torch.tensor([1, 3, 3, 2]), logits=True, per_state=True)
        >>> ax = plot.posteriors(occupancy, "ACCB", extent=(0.0, 0.8))
        >>> _ = ax.set_xlabel("seconds")
    """
    gamma = as_array("occupancy", occupancy, 2)
    frames, columns = gamma.shape
    names, shown = _name_columns(gamma, labels, blank)
    per_state = len(names) != columns
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}, but must be one of {', '.join(map(repr, get_args(Kind)))}")
    if image is not None and waveform is not None:
        raise ValueError("image and waveform are both given, but there is room for one: leave one of them out")
    pixels = None if image is None else as_array("image", image, 2, 3)
    samples = None if waveform is None else as_array("waveform", waveform, 1)
    known = np.empty((0, 2)) if spans is None else as_array("spans", spans, 2)
    if spans is not None and (not per_state or known.shape != (len(names), 2)):
        raise ValueError(
            f"spans has shape {known.shape}, but must be (S, 2) for the S labels of occupancy per state, (T, 2S + 1); "
            f"occupancy has {columns} columns and labels {len(names)} names"
        )
    left, right = extent or (0.0, float(frames if pixels is None else pixels.shape[1]))

    # From bottom to top: the panel (1 high, or one unit per row), a gap with the labels' names, the picture or sound.
    curves = kind == "curves"
    panel = 1.0 if curves else float(columns)
    sourced = pixels is not None or samples is not None
    gap = 0.2 + 0.15 * sourced if curves else 0.5 * sourced
    above, aspect = 0.7 * panel * sourced, 0.0
    if pixels is not None:
        # Higher than the curves by 0.4; over a heat map, cells are square because pixels are.
        above = 1.4 if curves else pixels.shape[0] * frames / pixels.shape[1]
        aspect = pixels.shape[0] * (right - left) / (pixels.shape[1] * above)
    top = panel + gap + above
    ax = ax or new_axes(10.0, 0.7 + (10.0 * top * aspect / (right - left) if aspect else 2.5))

    colours = colours_of(names)
    if curves:
        _draw_curves(ax, gamma, names, colours, shown, np.linspace(left, right, frames + 1))
    else:
        _draw_heatmap(ax, gamma, names, shown, (left, right, 0.0, panel))
    for colour, (start, end) in zip(colours, known, strict=bool(len(known))):
        ax.axvspan(start, end, color=colour, alpha=0.14, linewidth=0, zorder=0.5)
    if pixels is not None:
        ink = colour_map(INK) if pixels.ndim == 2 else None
        ax.imshow(pixels, cmap=ink, extent=(left, right, top - above, top), aspect="auto", zorder=0.4)
        ax.set_aspect(aspect)
    if samples is not None:
        x = left + (np.arange(len(samples)) + 0.5) * (right - left) / max(1, len(samples))
        loudest = max(float(np.abs(samples).max(initial=0.0)), np.finfo(np.float64).tiny)
        ax.plot(x, top - above / 2 + samples * (above / 2 / loudest), color=INK, linewidth=0.6)
    ax.set(xlim=(left, right), ylim=(0, top))
    ax.tick_params(colors=GREY, labelcolor=INK, length=2.5)
    ax.spines[["left", "top", "right"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    return ax


def _name_columns(gamma: Array, labels: Iterable[object] | None, blank: int | None) -> tuple[list[str], list[int]]:
    """Return the names, and the column of each."""
    columns = gamma.shape[1]
    names = as_names(range(columns) if labels is None else labels)
    if columns == 2 * len(names) + 1:
        return names, [2 * s + 1 for s in range(len(names))]
    if columns == len(names):
        return names, [_BLANK if column == blank else column for column in range(columns)]
    raise ValueError(
        f"occupancy has {columns} columns and labels has {len(names)} names, but the S labels of a target go with "
        f"2S + 1 columns (per state), and the names of C classes with C columns (per class)"
    )


def _draw_curves(ax: Axes, gamma: Array, names: list[str], colours: list[str], shown: list[int], edges: Array) -> None:
    """Stack the occupancies of the labels, and write each name above the expected frame of its label."""
    middles = (edges[:-1] + edges[1:]) / 2
    per_state = len(names) != gamma.shape[1]
    height = np.zeros(len(gamma))
    for name, colour, column in zip(names, colours, shown, strict=True):
        curve = gamma[:, column]
        if column == _BLANK or not curve.max(initial=0.0) > _INVISIBLE:
            continue
        ax.stairs(height + curve, edges, baseline=height, fill=True, color=colour, linewidth=0)
        height = height + curve
        # A label of the target has one name, at the mean of its occupancy; a class has one per run of likely frames.
        for run in [slice(None)] if per_state else _runs(curve > 0.25):
            x = np.average(middles[run], weights=curve[run])
            ax.text(x, 1.05, name, color=colour, ha="center", va="bottom", fontsize=9, fontweight="bold")
    ax.hlines(1, edges[0], edges[-1], color=GREY, linewidth=0.5)
    ax.set_yticks([0, 1])


def _draw_heatmap(
    ax: Axes, gamma: Array, names: list[str], shown: list[int], extent: tuple[float, float, float, float]
) -> None:
    """Draw one row of cells per column, the first on top."""
    columns = gamma.shape[1]
    ax.imshow(gamma.T, cmap=colour_map(PALETTE[0]), vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="none")
    named = dict(zip(shown, names, strict=True))
    rows = [column for column in range(columns) if column in named]
    ax.set_yticks([columns - row - 0.5 for row in rows], [named[row] for row in rows])


def _runs(mask: npt.NDArray[np.bool_]) -> list[slice]:
    """Return one slice per unbroken run of true values."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [slice(start, end) for start, end in zip(turns[::2], turns[1::2], strict=True)]
