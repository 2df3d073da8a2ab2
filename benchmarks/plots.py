"""The two figures: how many times faster, and how time grows."""

# ruff: noqa: PLC0415, RUF001 - matplotlib is optional; × is the sign of multiplication

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.report import Results

OURS, TORCHS, OTHERS = "#0b6e4f", "#9a9a9a", ("#c8553d", "#588bc4", "#e0a030", "#8e6bb0", "#444444")


def draw(results: Results, stem: Path) -> list[Path]:
    """Draw what there are results for; the files are named after `stem`."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    drawn = []
    for name, has, figure in (("speed", "speed", _speed), ("growth", "growth", _growth)):
        if results[has]:
            path = stem.with_name(f"{stem.name}-{name}.png")
            made = figure(results)
            made.savefig(path, dpi=150, bbox_inches="tight")
            drawn.append(path)
    return drawn


def _speed(results: Results) -> Any:
    """Bars: torch's time over ctckit's. Dots: the other peers' time over ctckit's."""
    from matplotlib.figure import Figure

    rows = [row for row in results["speed"] if (row["mode"], row["dtype"], row["threads"]) == ("logits", "float32", 1)]
    place = {row["case"]: y for y, row in enumerate(rows)}
    figure = Figure(figsize=(7.5, 0.42 * len(rows) + 1.6))
    axes: Axes = figure.add_subplot()
    ratios = np.array([row["ratio"]["p50"] for row in rows])
    axes.barh(range(len(rows)), ratios - 1, left=1, color=OURS, height=0.6, label="torch", zorder=2)
    for y, (row, ratio) in enumerate(zip(rows, ratios, strict=True)):
        axes.annotate(
            f"{ratio:.2g}×" if ratio < 10 else f"{ratio:.0f}×",
            (1, y),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=OURS,
            fontweight="bold",
        )
        if row["goal"]:
            must, _ = row["goal"]
            axes.plot([must, must], [y - 0.4, y + 0.4], color="black", lw=2, zorder=5)
    axes.plot([], [], color="black", lw=2, label="to reach")
    peers = [row for row in results["peers"] if row["threads"] == 1 and "ratio" in row]
    for name, colour in zip(dict.fromkeys(row["peer"] for row in peers), OTHERS, strict=False):
        mine = [row for row in peers if row["peer"] == name and row["case"] in place]
        axes.plot(
            [row["ratio"]["p50"] for row in mine],
            [place[row["case"]] for row in mine],
            "o",
            ms=5,
            color=colour,
            mec="white",
            mew=0.6,
            label=name,
            zorder=6,
        )
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_yticks(range(len(rows)), [_label(results, row["case"]) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e4e4e4", zorder=0)
    axes.set_title(
        "How many times faster ctckit is (logits to gradient, float32, one thread)",
        loc="left",
        fontsize=10,
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.08, 1.0), frameon=False)
    return figure


def _label(results: Results, name: str) -> str:
    case = results["cases"][name]
    return f"{name}  ({', '.join(str(case[key]) for key in 'TNCS')})"


def _growth(results: Results) -> Any:
    """Four log-log panels: time against T, S, C and N."""
    from matplotlib.figure import Figure

    rows = results["growth"]
    figure = Figure(figsize=(3.0 * len(rows), 3.0), layout="constrained")
    panels = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    names = {"T": "frames T", "S": "labels S", "C": "classes C", "N": "batch N"}
    for axes, row in zip(panels, rows, strict=True):
        for who, colour in (("torch", TORCHS), ("ctckit", OURS)):
            axes.plot(
                row["sizes"],
                row[f"{who}_ms"],
                "o-",
                ms=4,
                color=colour,
                label=f"{who}, slope {row[f'{who}_slope'] or float('nan'):.2f}",
            )
        axes.set(xscale="log", yscale="log", xlabel=names[row["axis"]])
        axes.set_xticks(row["sizes"][::2], [str(size) for size in row["sizes"][::2]])
        axes.minorticks_off()
        axes.grid(color="#e4e4e4")
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("milliseconds")
    return figure
