"""The results of `benchmarks.alignment` as tables and a plot."""

# ruff: noqa: PLC0415 - matplotlib is optional

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import goals
from benchmarks.report import WORDS, Table, machine_sentence

if TYPE_CHECKING:
    from pathlib import Path

Results = dict[str, Any]

GOAL = (3.0, 10.0)
"""Must and aim: times faster than the fastest peer, on every shape."""
MEMORY_GOAL = 1024.0
"""MiB above the input, of one item of 60,000 frames and 9,000 labels."""


def tables(results: Results) -> dict[str, Table]:
    """The tables, by the names used in the documentation."""
    return {"alignment": _speed(results), "alignment-growth": _growth(results), "alignment-long": _long(results)}


def blocks(results: Results) -> dict[str, str]:
    """What a document may ask for, by name."""
    found = {name: table.markdown() for name, table in tables(results).items()}
    return found | {"alignment-machine": machine_sentence(results) + "\n"}


def _speed(results: Results) -> Table:
    measured = [row for row in results["alignment"] if "ratio" in row]
    names = list(dict.fromkeys(row["peer"] for row in results["alignment"]))
    rows = []
    for case, threads in dict.fromkeys((row["case"], row["threads"]) for row in measured):
        mine = {row["peer"]: row for row in measured if (row["case"], row["threads"]) == (case, threads)}
        shape = ", ".join(str(results["cases"][case][key]) for key in "TNCS")
        fastest = min(row["ratio"]["p50"] for row in mine.values())
        ours = min(row["second_ms"]["p50"] for row in mine.values())
        cells = [f"{mine[name]['first_ms']['p50']:.3g}" if name in mine else "fails" for name in names]
        verdict = WORDS[goals.at_least(fastest, GOAL)]
        rows.append([case, shape, str(threads), *cells, f"{ours:.3g}", f"{fastest:.3g}x", verdict])
    note = (
        "Milliseconds of a call, float32, median of calls made in turn; the last number is the fastest peer's time "
        "over ctckit's, the median over pairs. A peer that takes one item at a time is called for each."
    )
    return Table(
        "Best path", ["case", "T, N, C, S", "threads", *names, "ctckit", "fastest peer / ctckit", ""], rows, note
    )


def _growth(results: Results) -> Table:
    rows = [
        [
            row["axis"],
            f"{row['sizes'][0]}-{row['sizes'][-1]}",
            f"{row['ms'][0]:.3g}-{row['ms'][-1]:.3g}",
            "" if row["slope"] is None else f"{row['slope']:.2f}",
        ]
        for row in results["growth"]
    ]
    note = "Slope: the exponent p in time ~ size^p, over the larger half of the sizes. T with S = 200, S with T = 8000."
    return Table("Growth", ["axis", "sizes", "ms", "slope"], rows, note)


def _long(results: Results) -> Table:
    rows = [
        [
            f"{row['T']:,}",
            f"{row['S']:,}",
            f"{row['T'] / 50 / 3600:.2g}",
            f"{row['seconds']:.3g}",
            f"{row['mib_above_input']:.0f}",
        ]
        for row in results["long"]
    ]
    note = "One item in one piece on one thread, C = 32; the path and its scores are part of the memory."
    return Table("Long inputs", ["T", "S", "hours", "seconds", "MiB above the input"], rows, note)


def draw(results: Results, path: Path) -> list[Path]:
    """Draw how time grows with frames and labels; nothing without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return []
    from matplotlib.figure import Figure

    from benchmarks.plots import OURS

    mpl.use("Agg")
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    panels = figure.subplots(1, len(results["growth"]), sharey=True, squeeze=False)[0]
    names = {"T": "frames T (S = 200)", "S": "labels S (T = 8000)"}
    for axes, row in zip(panels, results["growth"], strict=True):
        label = "ctckit" if row["slope"] is None else f"ctckit, slope {row['slope']:.2f}"
        axes.plot(row["sizes"], row["ms"], "o-", ms=4, color=OURS, label=label)
        axes.set(xscale="log", yscale="log", xlabel=names[row["axis"]])
        axes.set_xticks(row["sizes"][::2], [str(size) for size in row["sizes"][::2]])
        axes.minorticks_off()
        axes.grid(color="#e4e4e4")
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("milliseconds")
    figure.savefig(path, dpi=150, bbox_inches="tight")
    return [path]
