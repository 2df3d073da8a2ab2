"""The figures: how many times faster, and how time grows."""

# ruff: noqa: PLC0415, RUF001 - matplotlib is optional; × is the sign of multiplication

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import goals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Results = dict[str, Any]
Plot = Callable[[str, Results], Any]  # from a question and all results to a figure, or None if there is nothing to draw

OURS, TORCHS, OTHERS = "#0b6e4f", "#9a9a9a", ("#c8553d", "#588bc4", "#e0a030", "#8e6bb0", "#444444")
NAMES = {"T": "frames T", "S": "labels S", "C": "classes C", "N": "batch N"}


def draw(plot: Plot, question: str, results: Results, path: Path) -> bool:
    """Draw one figure; return False if matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    plot(question, results).savefig(path, dpi=150, bbox_inches="tight")
    return True


def speed(question: str, results: Results) -> Any:
    """Bars: torch's time over ctckit's. Dots: the time of other peers over ctckit's."""
    from matplotlib.figure import Figure

    rows = [row for row in results["questions"][question]["rows"] if goals.is_main(row)]
    place = {row["case"]: y for y, row in enumerate(rows)}
    figure = Figure(figsize=(7.5, 0.42 * len(rows) + 1.6))
    axes: Axes = figure.add_subplot()
    ratios = np.array([row["ratio"]["p50"] for row in rows])
    axes.barh(range(len(rows)), ratios - 1, left=1, color=OURS, height=0.6, label="torch", zorder=2)
    for y, ratio in enumerate(ratios):
        text = f"{ratio:.2g}×" if ratio < 10 else f"{ratio:.0f}×"
        axes.text(1.01, y, text, transform=axes.get_yaxis_transform(), va="center", color=OURS, fontweight="bold")
    _dots(axes, results, place)
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    shapes = (", ".join(str(results["cases"][name][key]) for key in "TNCS") for name in place)
    axes.set_yticks(range(len(rows)), [f"{name}  ({shape})" for name, shape in zip(place, shapes, strict=True)])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e4e4e4", zorder=0)
    title = "How many times faster ctckit is (logits to gradient, float32, one thread)"
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1.08, 1.0), frameon=False)
    return figure


def _dots(axes: Axes, results: Results, place: dict[str, int]) -> None:
    found = results["questions"].get("peers", {"rows": []})["rows"]
    peers = [row for row in found if row["threads"] == 1 and "ratio" in row and row["case"] in place]
    for name, colour in zip(dict.fromkeys(row["peer"] for row in peers), OTHERS, strict=False):
        mine = [(row["ratio"]["p50"], place[row["case"]]) for row in peers if row["peer"] == name]
        axes.plot(*zip(*mine, strict=True), "o", ms=5, color=colour, mec="white", mew=0.6, label=name, zorder=6)


def growth(question: str, results: Results) -> Any:
    """A log-log panel for each axis: time against size."""
    from matplotlib.figure import Figure

    rows = results["questions"][question]["rows"]
    figure = Figure(figsize=(max(7.0, 3.0 * len(rows)), 3.0), layout="constrained")
    panels = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    for axes, row in zip(panels, rows, strict=True):
        for who, colour in (("torch", TORCHS), ("ctckit", OURS)):
            if f"{who}_ms" in row:
                slope = row[f"{who}_slope"]
                label = who if slope is None else f"{who}, slope {slope:.2f}"
                axes.plot(row["sizes"], row[f"{who}_ms"], "o-", ms=4, color=colour, label=label)
        axes.set(xscale="log", yscale="log", xlabel=NAMES[row["axis"]])
        axes.set_xticks(row["sizes"][::2], [str(size) for size in row["sizes"][::2]])
        axes.minorticks_off()
        axes.grid(color="#e4e4e4")
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("milliseconds")
    return figure


def widths(question: str, results: Results) -> Any:
    """A panel for each set: how far what is found is from the best that anybody found, against time."""
    from matplotlib.figure import Figure

    rows = [row for row in results["questions"][question]["rows"] if "ms" in row and row["loss"] is not None]
    sets = list(dict.fromkeys(row["case"] for row in rows))
    names = list(dict.fromkeys(row["who"] for row in rows))
    libraries = dict.fromkeys(who.removesuffix("-pruned") for who in names)
    colours = dict(zip(libraries, (OURS, *OTHERS, TORCHS), strict=False))
    figure = Figure(figsize=(max(7.0, 3.0 * len(sets)), 3.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        here = [row for row in rows if row["case"] == name]
        best = min(row["loss"] for row in here)
        for who in names:
            mine = [row for row in here if row["who"] == who]
            times, losses = [row["ms"]["p50"] for row in mine], [row["loss"] - best for row in mine]
            style = "o--" if who.endswith("-pruned") else "o-"
            axes.plot(
                times,
                losses,
                style,
                ms=4 if who == "ctckit" else 3,
                color=colours[who.removesuffix("-pruned")],
                label=who,
            )
            for row, x, y in zip(mine, times, losses, strict=True):
                if who == "ctckit" and row["beam_width"] in (1, 16, 256):
                    axes.annotate(str(row["beam_width"]), (x, y), textcoords="offset points", xytext=(3, 4), fontsize=7)
        axes.set(xscale="log", xlabel="milliseconds per utterance")
        axes.set_yscale("symlog", linthresh=1e-3)
        axes.set_ylim(bottom=-2e-4, top=2 * axes.get_ylim()[1])  # room for the label of the first width
        axes.set_title(name, loc="left", fontsize=10)
        axes.grid(color="#e4e4e4")
    figure.axes[0].set_ylabel("nats above the best found")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    return figure
