"""Pictures of CTC: the trellis it sums over, and where a model's posteriors put each label.

Both functions draw on one matplotlib ``Axes`` (their own, or one that is given) and return it, so that titles, sizes
and files remain the caller's business. matplotlib is imported when a picture is drawn and not before; it comes with
``pip install ctckit[plot]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch

from ctckit.lattice import may_skip, state_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap

__all__ = ["posteriors", "trellis"]

Array: TypeAlias = npt.NDArray[np.float64]
ArrayLike: TypeAlias = npt.ArrayLike | torch.Tensor
Kind: TypeAlias = Literal["curves", "heatmap"]

# Ten hues of about one strength for labels; greys for the blank and for everything that is not data.
_PALETTE = (
    "#3a73b9",
    "#d0774e",
    "#3f9557",
    "#ad4e61",
    "#8061b2",
    "#b3953f",
    "#00a0a6",
    "#be6ca4",
    "#607200",
    "#404996",
)
_ACCENT = _PALETTE[1]
_INK, _GREY, _PALE, _PAPER = "#2b2f36", "#8b929c", "#e3e6ea", "#ffffff"

_BLANK = -1  # stands for the column of the blank, which has no area of its own
_INVISIBLE = 0.01  # occupancy below this throughout is less than a pixel high


# -------------------------------------------------------------------------------------------------------- posteriors


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
    """Draw how probably each label is being emitted in each frame, below the picture or sound that was read.

    The occupancy is what `ctckit.posteriors` returns, for one item. With one column per *state* (``per_state=True``)
    every label of the target is drawn by itself, even if it occurs twice, and its name stands at its expected frame;
    with one column per *class*, occurrences of a label are told apart only by where they are.

    Args:
        occupancy: (T, 2S + 1) per state, or (T, C) per class; values from 0 to 1. Pass only the item's own frames.
        labels: names of the target's S labels (per state), or of all C classes (per class). None takes the columns for
            classes and numbers them. Equal names have equal colours, in every figure.
        blank: column of the blank if the columns are classes; None if there is none.
        kind: 'curves' stacks the labels' occupancies on each other, so that in each frame they and the blank, which
            is left white, fill the height of 1; 'heatmap' draws a row of cells per column.
        image: (H, W) picture, dark where large, or (H, W, 3) colours from 0 to 1, drawn above on the same axis with
            square pixels. Each of the T frames is W / T columns wide.
        waveform: (samples,) drawn above instead of a picture.
        spans: (S, 2) where each label is known to begin and end, in the units of the horizontal axis, shaded in the
            label's colour. Needs occupancy per state.
        extent: where on the horizontal axis the first frame begins and the last one ends: by default (0, W) with a
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
    gamma = _array("occupancy", occupancy, 2)
    frames, columns = gamma.shape
    names, shown = _name_columns(gamma, labels, blank)
    per_state = len(names) != columns
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}, but must be one of {', '.join(map(repr, get_args(Kind)))}")
    if image is not None and waveform is not None:
        raise ValueError("image and waveform are both given, but there is room for one: leave one of them out")
    pixels = None if image is None else _array("image", image, 2, 3)
    samples = None if waveform is None else _array("waveform", waveform, 1)
    known = np.empty((0, 2)) if spans is None else _array("spans", spans, 2)
    if spans is not None and (not per_state or known.shape != (len(names), 2)):
        raise ValueError(
            f"spans has shape {known.shape}, but must be (S, 2) for the S labels of occupancy per state, (T, 2S + 1); "
            f"occupancy has {columns} columns and labels {len(names)} names"
        )
    left, right = extent or (0.0, float(frames if pixels is None else pixels.shape[1]))

    # From below: the panel (1 high, or one unit per row), a gap with the labels' names, the picture or sound.
    curves = kind == "curves"
    panel = 1.0 if curves else float(columns)
    sourced = pixels is not None or samples is not None
    gap = 0.2 + 0.15 * sourced if curves else 0.5 * sourced
    above, aspect = 0.7 * panel * sourced, 0.0
    if pixels is not None:
        # Somewhat higher than the curves; over a heat map, so high that cells are square if pixels are.
        above = 1.4 if curves else pixels.shape[0] * frames / pixels.shape[1]
        aspect = pixels.shape[0] * (right - left) / (pixels.shape[1] * above)
    top = panel + gap + above
    ax = ax or _new_axes(10.0, 0.7 + (10.0 * top * aspect / (right - left) if aspect else 2.5))

    if curves:
        _draw_curves(ax, gamma, names, shown, np.linspace(left, right, frames + 1))
    else:
        _draw_heatmap(ax, gamma, names, shown, (left, right, 0.0, panel))
    for name, (start, end) in zip(names, known, strict=bool(len(known))):
        ax.axvspan(start, end, color=_colour(name), alpha=0.14, linewidth=0, zorder=0.5)
    if pixels is not None:
        ink = _colour_map(_INK) if pixels.ndim == 2 else None
        ax.imshow(pixels, cmap=ink, extent=(left, right, top - above, top), aspect="auto", zorder=0.4)
        ax.set_aspect(aspect)
    if samples is not None:
        x = left + (np.arange(len(samples)) + 0.5) * (right - left) / max(1, len(samples))
        loudest = max(float(np.abs(samples).max(initial=0.0)), np.finfo(np.float64).tiny)
        ax.plot(x, top - above / 2 + samples * (above / 2 / loudest), color=_INK, linewidth=0.6)
    ax.set(xlim=(left, right), ylim=(0, top))
    ax.tick_params(colors=_GREY, labelcolor=_INK, length=2.5)
    ax.spines[["left", "top", "right"]].set_visible(False)
    ax.spines["bottom"].set_color(_GREY)
    return ax


def _name_columns(gamma: Array, labels: Iterable[object] | None, blank: int | None) -> tuple[list[str], list[int]]:
    """Return the names, and the column that each of them names."""
    columns = gamma.shape[1]
    names = _names(range(columns) if labels is None else labels)
    if columns == 2 * len(names) + 1:
        return names, [2 * s + 1 for s in range(len(names))]
    if columns == len(names):
        return names, [_BLANK if column == blank else column for column in range(columns)]
    raise ValueError(
        f"occupancy has {columns} columns and labels has {len(names)} names, but the S labels of a target go with "
        f"2S + 1 columns (per state), and the names of C classes with C columns (per class)"
    )


def _draw_curves(ax: Axes, gamma: Array, names: list[str], shown: list[int], edges: Array) -> None:
    """Stack the labels' occupancies on each other, and write each name above where its label is expected."""
    middles = (edges[:-1] + edges[1:]) / 2
    per_state = len(names) != gamma.shape[1]
    height = np.zeros(len(gamma))
    for name, column in zip(names, shown, strict=True):
        curve = gamma[:, column]
        if column == _BLANK or not curve.max(initial=0.0) > _INVISIBLE:
            continue
        ax.stairs(height + curve, edges, baseline=height, fill=True, color=_colour(name), linewidth=0)
        height = height + curve
        # A label of the target has one place, the mean of its occupancy; a class has one wherever it is probable.
        for run in [slice(None)] if per_state else _runs(curve > 0.25):
            x = np.average(middles[run], weights=curve[run])
            ax.text(x, 1.05, name, color=_colour(name), ha="center", va="bottom", fontsize=9, fontweight="bold")
    ax.hlines(1, edges[0], edges[-1], color=_GREY, linewidth=0.5)
    ax.set_yticks([0, 1])


def _draw_heatmap(
    ax: Axes, gamma: Array, names: list[str], shown: list[int], extent: tuple[float, float, float, float]
) -> None:
    """Draw one row of cells per column, the first on top."""
    columns = gamma.shape[1]
    ax.imshow(
        gamma.T, cmap=_colour_map(_PALETTE[0]), vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="none"
    )
    named = dict(zip(shown, names, strict=True))
    rows = [column for column in range(columns) if column in named]
    ax.set_yticks([columns - row - 0.5 for row in rows], [named[row] for row in rows])


def _runs(mask: npt.NDArray[np.bool_]) -> list[slice]:
    """Return where the mask is true, as one slice per unbroken run."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [slice(start, end) for start, end in zip(turns[::2], turns[1::2], strict=True)]


# ----------------------------------------------------------------------------------------------------------- trellis


def trellis(
    labels: Iterable[object],
    frames: int | None = None,
    *,
    occupancy: ArrayLike | None = None,
    path: Sequence[int] | torch.Tensor | None = None,
    blank: str = "blank",
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the trellis of a target: its states, frame by frame, and every arc that lies on a complete path.

    The likelihood of the target is the sum, over all paths through these arcs, of the product of the emissions on the
    way. A state that no complete path visits is a dot.

    Args:
        labels: the target, for instance ``"CAT"``: anything that prints.
        frames: number of frames; by default that of `occupancy` or `path`, else three more than the target needs.
        occupancy: (T, 2S + 1) probability of each state in each frame, as `ctckit.posteriors` returns with
            ``per_state=True``; fills the circles.
        path: (T,) state in each frame, from 0 to 2S; drawn as a broad line.
        blank: what to call the blank.
        legend: whether to name the kinds of arc.
        ax: where to draw; a new figure by default.

    Returns:
        The axes that were drawn on.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if shapes do not fit each other, or `path` is not a complete path.

    Example:
        >>> from ctckit import plot
        >>> ax = plot.trellis("CAT", 7, path=[0, 1, 1, 3, 4, 5, 6])
    """
    names = _names(labels)
    skip = _skips(names)
    states = len(skip)
    weights = None if occupancy is None else _array("occupancy", occupancy, 2)
    steps = None if path is None else [int(state) for state in path]
    if frames is None:
        needed = len(names) + sum(names[s] == names[s - 1] for s in range(1, len(names)))
        frames = needed + 3 if weights is None else len(weights)
        frames = frames if steps is None else len(steps)
    if weights is not None and weights.shape != (frames, states):
        raise ValueError(
            f"occupancy has shape {weights.shape}, but must be {(frames, states)} for {len(names)} labels in {frames} "
            f"frames: pass that of one item, within its lengths"
        )
    useful = _on_a_complete_path(frames, skip)
    if steps is not None:
        _check_path(steps, frames, skip)

    ax = ax or _new_axes(0.62 * frames + 1.4, 0.62 * states + 1.2)
    _draw_arcs(ax, useful, skip, legend=legend)
    if steps is not None:
        ax.plot(range(frames), steps, color=_ACCENT, alpha=0.35, linewidth=8, solid_capstyle="round", zorder=1.5)
    _draw_states(ax, useful, weights)
    ax.set_yticks(range(states), [names[s // 2] if s % 2 else blank for s in range(states)])
    for state, text in enumerate(ax.get_yticklabels()):
        text.set(color=_INK if state % 2 else _GREY, fontweight="bold" if state % 2 else "normal")
    ax.set(xlim=(-0.6, frames - 0.4), ylim=(states - 0.4, -0.6), xticks=range(frames), aspect="equal")
    ax.set_xlabel("frame", color=_INK)
    ax.tick_params(axis="x", length=0, labelcolor=_GREY)
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
    return ax


def _skips(names: list[str]) -> list[bool]:
    """Say of each state whether it may be entered from the one two before: `lattice.may_skip`, for names."""
    classes = {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}
    labels = torch.tensor([classes[name] for name in names], dtype=torch.int64)
    skip: list[bool] = may_skip(state_labels(labels, 0), 0).tolist()
    return skip


def _sources(state: int, skip: list[bool]) -> range:
    """Return the states from which an arc leads into `state`: itself, the one before, and perhaps two before."""
    return range(max(0, state - 1 - skip[state]), state + 1)


def _on_a_complete_path(frames: int, skip: list[bool]) -> npt.NDArray[np.bool_]:
    """(T, K): whether state s in frame t can be reached from the start and can still reach the end."""
    states = len(skip)
    started = np.zeros((frames, states), dtype=bool)
    ends = np.zeros((frames, states), dtype=bool)
    started[:1, :2] = ends[-1:, -2:] = True
    for t in range(1, frames):
        for state in range(states):
            started[t, state] = any(started[t - 1, source] for source in _sources(state, skip))
    for t in range(frames - 1, 0, -1):
        for state in range(states):
            for source in _sources(state, skip):
                ends[t - 1, source] |= ends[t, state]
    return started & ends


def _check_path(steps: list[int], frames: int, skip: list[bool]) -> None:
    """Raise a ValueError that names the first thing wrong with a path."""
    states = len(skip)
    if len(steps) != frames:
        raise ValueError(f"path has {len(steps)} states, but must have one for each of the {frames} frames")
    if not all(0 <= state < states for state in steps):
        raise ValueError(f"path is {steps}, but must keep to the states 0 to {states - 1}")
    if steps and (steps[0] > 1 or steps[-1] < states - 2):
        ends = f"in 0 or 1 and end in {states - 2} or {states - 1}" if states > 1 else "and end in 0"
        raise ValueError(f"path leads from state {steps[0]} to {steps[-1]}, but must start {ends}")
    for t in range(1, frames):
        if steps[t - 1] not in _sources(steps[t], skip):
            raise ValueError(f"path goes from state {steps[t - 1]} to {steps[t]} in frame {t}, but no arc does")


def _draw_arcs(ax: Axes, useful: npt.NDArray[np.bool_], skip: list[bool], *, legend: bool) -> None:
    """Draw the arcs between useful states, each kind in its own style."""
    from matplotlib.collections import LineCollection  # noqa: PLC0415 (optional, see the module's docstring)

    kinds: dict[str, list[list[tuple[int, int]]]] = {"stay": [], "step": [], "skip": []}
    for t, state in np.argwhere(useful).tolist():
        for source in _sources(state, skip):
            if t > 0 and useful[t - 1, source]:
                kinds[("stay", "step", "skip")[state - source]].append([(t - 1, source), (t, state)])
    styles = {"stay": (_GREY, 1.0), "step": (_INK, 1.0), "skip": (_PALETTE[0], 1.2)}
    for kind, arcs in kinds.items():
        colour, width = styles[kind]
        ax.add_collection(LineCollection(arcs, colors=colour, linewidths=width, label=kind, zorder=1))
    if legend:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, labelcolor=_INK)


def _draw_states(ax: Axes, useful: npt.NDArray[np.bool_], weights: Array | None) -> None:
    """Draw a circle per useful state, filled by its occupancy or else as a label or a blank, and dots for the rest."""
    t, state = np.nonzero(useful)
    label = state % 2 == 1
    plain = np.where(label, _INK, _PAPER).tolist()
    fill = plain if weights is None else _colour_map(_PALETTE[0])(weights[t, state])
    ax.scatter(t, state, s=150, c=fill, edgecolors=np.where(label, _INK, _GREY).tolist(), linewidths=1.3, zorder=2)
    t, state = np.nonzero(~useful)
    ax.scatter(t, state, s=5, color=_PALE, zorder=2)


# ------------------------------------------------------------------------------------------------------------ common


def _array(name: str, values: ArrayLike, *dimensions: int) -> Array:
    """Bring a tensor on any device, or anything that NumPy reads, to float64, and check its dimensions."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in dimensions:
        raise ValueError(
            f"{name} has shape {array.shape}, but must have {' or '.join(map(str, dimensions))} dimensions"
        )
    return array


def _names(labels: Iterable[object]) -> list[str]:
    """Name labels by how they print (a tensor's elements as numbers)."""
    return [str(label) for label in (labels.tolist() if isinstance(labels, torch.Tensor) else labels)]


def _new_axes(width: float, height: float) -> Axes:
    """Make a figure with one axes, or say what is missing."""
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415 (optional, see the module's docstring)
    except ImportError as error:
        raise ImportError(
            "ctckit.plot draws with matplotlib, which is not installed: pip install ctckit[plot]"
        ) from error
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _colour(name: str) -> str:
    """Give a name its colour: the same in every figure, and different for neighbouring digits and letters."""
    return _PALETTE[sum(name.encode()) % len(_PALETTE)]


def _colour_map(colour: str) -> LinearSegmentedColormap:
    """Shade from paper to `colour`."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 (optional, see the module's docstring)

    return LinearSegmentedColormap.from_list("ctckit", [_PAPER, colour])
