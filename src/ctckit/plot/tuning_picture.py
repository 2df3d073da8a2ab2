"""Error rates over the weights of a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ctckit.plot.style import ACCENT, INK, PALETTE, PAPER, Array, ArrayLike, as_array, new_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_Point = tuple[float, float]
_RANGE: Final = 20.0  # times the least error rate: what is above is white


def error_rates(
    lm_weights: ArrayLike,
    word_bonuses: ArrayLike,
    rates: ArrayLike,
    *,
    best: _Point | None = None,
    given: _Point | None = None,
    decoded: Sequence[_Point] = (),
    name: str = "word error rate",
    ax: Axes | None = None,
) -> Axes:
    """Draw the error rate over the weight of a language model and the word bonus.

    Args:
        lm_weights: (A,) weights, ascending.
        word_bonuses: (B,) bonuses in nats, ascending.
        rates: (A, B) error rates, 1 for all words wrong.
        best: the weight and the bonus that were chosen; a ring.
        given: those before; a cross.
        decoded: those that were decoded with; dots.
        name: of the error rate.
        ax: where to draw; a new figure by default.

    Returns:
        The axes that were drawn on.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if shapes do not fit each other.

    Example:
        >>> from ctckit import plot
        >>> rates = [[0.2, 0.1, 0.15], [0.12, 0.08, 0.11]]
        >>> ax = plot.error_rates([0.0, 1.0], [-1.0, 0.0, 1.0], rates, best=(1.0, 0.0))
    """
    across, up = as_array("lm_weights", lm_weights, 1), as_array("word_bonuses", word_bonuses, 1)
    values = as_array("rates", rates, 2)
    if values.shape != (len(across), len(up)):
        raise ValueError(
            f"rates has shape {values.shape}, but must be {(len(across), len(up))}: a rate for each weight and bonus"
        )
    from matplotlib.colors import LinearSegmentedColormap, LogNorm  # noqa: PLC0415 (optional, see `ctckit.plot`)

    ax = ax or new_axes(6.4, 4.6)
    percent = 100 * values
    low, high = _limits(percent)
    levels = _levels(low, high)
    # The fewer errors, the darker; what has far more than the best is white. Colours and lines go by ratios.
    colours = LinearSegmentedColormap.from_list("ctckit", [PALETTE[0], PAPER])
    shown = np.maximum(percent, low).T
    image = ax.pcolormesh(across, up, shown, cmap=colours, norm=LogNorm(low, high), shading="nearest", rasterized=True)
    if levels:
        lines = ax.contour(across, up, shown, levels=levels, colors=INK, linewidths=0.6, alpha=0.6)
        ax.clabel(lines, fmt="%g%%", fontsize=7)
    bar = ax.figure.colorbar(image, ax=ax, extend="max", pad=0.02)
    bar.set_ticks(levels, labels=[f"{level:g}%" for level in levels])
    bar.minorticks_off()
    bar.set_label(name, color=INK)
    bar.outline.set_visible(False)
    if decoded:
        ax.plot(*zip(*decoded, strict=True), ".", color=INK, markersize=4, label="decoded")
    if given is not None:
        ax.plot(*given, "x", color=INK, markersize=8, markeredgewidth=1.8, label="given")
    if best is not None:
        ax.plot(*best, "o", color=ACCENT, markersize=12, markerfacecolor="none", markeredgewidth=2.2, label="best")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, labelcolor=INK)
    ax.set_xlabel("weight of the language model", color=INK)
    ax.set_ylabel("word bonus, nats", color=INK)
    ax.set(xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    ax.tick_params(length=0, labelcolor=INK)
    ax.spines[:].set_visible(False)
    return ax


def _limits(percent: Array) -> tuple[float, float]:
    """Return the rates of the darkest and of the lightest colour, above 0."""
    most = float(percent.max()) or 1.0
    low = float(percent.min()) or float(percent[percent > 0].min(initial=most)) / 2
    return low, max(min(most, _RANGE * low), 1.01 * low)


def _levels(low: float, high: float) -> list[float]:
    """Return round numbers between two."""
    steps = [digit * 10.0**power for power in range(-4, 4) for digit in (1, 2, 3, 5)]
    return [float(f"{step:.6g}") for step in steps if low < step < high]
