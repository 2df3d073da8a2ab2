"""The trellis that CTC sums over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ctckit.lattice import may_skip, state_labels
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
    as_names,
    colour_map,
    new_axes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes


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
    """Draw the trellis of a target: its states in each frame, and every arc that lies on a complete path.

    The likelihood of the target is a sum over all paths through these arcs. Each path contributes the product of its
    emissions. A state on no complete path is drawn as a dot.

    Args:
        labels: the target, for instance ``"CAT"``; any objects that print.
        frames: number of frames; by default that of `occupancy` or `path`, else three more than the target needs.
        occupancy: (T, 2S + 1) probability of each state in each frame, from `ctckit.posteriors` with
            ``per_state=True``; fills the circles.
        path: (T,) state in each frame, from 0 to 2S; drawn as a broad line.
        blank: name of the blank.
        legend: whether to draw a legend of the kinds of arc.
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
    names = as_names(labels)
    skip = _skips(names)
    states = len(skip)
    weights = None if occupancy is None else as_array("occupancy", occupancy, 2)
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

    ax = ax or new_axes(0.62 * frames + 1.4, 0.62 * states + 1.2)
    _draw_arcs(ax, useful, skip, legend=legend)
    if steps is not None:
        ax.plot(range(frames), steps, color=ACCENT, alpha=0.35, linewidth=8, solid_capstyle="round", zorder=1.5)
    _draw_states(ax, useful, weights)
    ax.set_yticks(range(states), [names[s // 2] if s % 2 else blank for s in range(states)])
    for state, text in enumerate(ax.get_yticklabels()):
        text.set(color=INK if state % 2 else GREY, fontweight="bold" if state % 2 else "normal")
    ax.set(xlim=(-0.6, frames - 0.4), ylim=(states - 0.4, -0.6), xticks=range(frames), aspect="equal")
    ax.set_xlabel("frame", color=INK)
    ax.tick_params(axis="x", length=0, labelcolor=GREY)
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
    return ax


def _skips(names: list[str]) -> list[bool]:
    """Return for each state whether it may be entered from two states before: `lattice.may_skip`, for names."""
    classes = {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}
    labels = torch.tensor([classes[name] for name in names], dtype=torch.int64, device="cpu")
    skip: list[bool] = may_skip(state_labels(labels, 0), 0).tolist()
    return skip


def _sources(state: int, skip: list[bool]) -> range:
    """Return the states with an arc into `state`: itself, the state before, and the one before that if allowed."""
    return range(max(0, state - 1 - skip[state]), state + 1)


def _on_a_complete_path(frames: int, skip: list[bool]) -> npt.NDArray[np.bool_]:
    """Return (T, K): whether state s in frame t can be reached from the start and can reach the end."""
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
    """Raise a ValueError that names the first error of a path."""
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
    from matplotlib.collections import LineCollection  # noqa: PLC0415 (optional, see `ctckit.plot`)

    kinds: dict[str, list[list[tuple[int, int]]]] = {"stay": [], "step": [], "skip": []}
    for t, state in np.argwhere(useful).tolist():
        for source in _sources(state, skip):
            if t > 0 and useful[t - 1, source]:
                kinds[("stay", "step", "skip")[state - source]].append([(t - 1, source), (t, state)])
    styles = {"stay": (GREY, 1.0), "step": (INK, 1.0), "skip": (PALETTE[0], 1.2)}
    for kind, arcs in kinds.items():
        colour, width = styles[kind]
        ax.add_collection(LineCollection(arcs, colors=colour, linewidths=width, label=kind, zorder=1))
    if legend:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, labelcolor=INK)


def _draw_states(ax: Axes, useful: npt.NDArray[np.bool_], weights: Array | None) -> None:
    """Draw a circle per useful state, filled by its occupancy or else as a label or a blank, and dots for the rest."""
    t, state = np.nonzero(useful)
    label = state % 2 == 1
    plain = np.where(label, INK, PAPER).tolist()
    fill = plain if weights is None else colour_map(PALETTE[0])(weights[t, state])
    ax.scatter(t, state, s=150, c=fill, edgecolors=np.where(label, INK, GREY).tolist(), linewidths=1.3, zorder=2)
    t, state = np.nonzero(~useful)
    ax.scatter(t, state, s=5, color=PALE, zorder=2)
