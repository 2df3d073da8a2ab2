"""Draws docs/figures/beam.svg: ``python docs/figures/beam.py``.

Three frames of a prefix search with a beam of three, on the emissions of docs/decoding.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

import ctckit
from ctckit.plot.style import ACCENT, GREY, INK, PALE, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = "-ab"
FRAMES = [[0.5, 0.4, 0.1], [0.4, 0.5, 0.1], [0.3, 0.3, 0.4]]  # probabilities of the blank, a and b
WIDTH = 3  # prefixes in the beam

COLUMN, BAR = 3.2, 1.6  # from one frame to the next; a mass of 1
LEFT = 0.42  # from a prefix to its bar


class Row(NamedTuple):
    """A prefix after a frame."""

    prefix: str
    blank: float  # mass of its paths that end in the blank
    label: float  # mass of its other paths
    is_new: bool


class Arc(NamedTuple):
    """Mass that goes from one prefix to another, or stays."""

    start: str
    end: str
    mass: float


def step(beam: list[Row], p: list[float]) -> tuple[list[Row], list[Arc]]:
    """All prefixes after a frame, the best first, and where their masses come from."""
    blank: dict[str, float] = defaultdict(float)
    label: dict[str, float] = defaultdict(float)
    arcs = []
    for row in beam:
        total, last = row.blank + row.label, row.prefix[-1:]
        blank[row.prefix] += total * p[0]
        label[row.prefix] += row.label * p[NAMES.index(last)] if last else 0.0
        arcs.append(Arc(row.prefix, row.prefix, blank[row.prefix] + label[row.prefix]))
    for row in beam:
        for name, probability in zip(NAMES[1:], p[1:], strict=True):
            mass = (row.blank if name == row.prefix[-1:] else row.blank + row.label) * probability
            if mass > 0:
                label[row.prefix + name] += mass
                arcs.append(Arc(row.prefix, row.prefix + name, mass))
    old = [row.prefix for row in beam]
    rows = [Row(prefix, blank[prefix], label[prefix], prefix not in old) for prefix in [*old, *label]]
    return sorted(dict.fromkeys(rows), key=lambda row: -row.blank - row.label), arcs


def draw_rows(axes: Axes, frame: int, rows: list[Row]) -> dict[str, float]:
    """A column of prefixes with bars. Returns the height of each."""
    heights = {}
    for rank, row in enumerate(rows):
        y = -rank - (0.6 if rank >= WIDTH else 0.0)
        x = COLUMN * frame
        stays = rank < WIDTH
        heights[row.prefix] = y
        name = row.prefix or "\N{EMPTY SET}"
        weight = "bold" if row.is_new and frame else "normal"
        axes.text(x, y, name, ha="left", va="center", size=11, weight=weight, color=INK if stays else GREY)
        for start, mass, colour in ((0.0, row.blank, GREY), (row.blank, row.label, PALETTE[0])):
            axes.barh(y, BAR * mass, left=x + LEFT + BAR * start, height=0.5, color=colour, alpha=1 if stays else 0.35)
        end = x + LEFT + BAR * (row.blank + row.label) + 0.06
        axes.text(end, y, f"{row.blank + row.label:.3g}", va="center", size=8, color=INK if stays else GREY)
    if len(rows) > WIDTH:
        axes.plot([x - 0.1, x + 2.2], [0.2 - WIDTH] * 2, color=GREY, lw=0.9, ls=(0, (4, 3)))
    return heights


def draw() -> Figure:
    """The columns of all frames, and the arcs between them."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    axes = figure.subplots()
    beam = [Row("", 1.0, 0.0, is_new=False)]
    before = draw_rows(axes, 0, beam)
    axes.text(0, 0.95, "before the first frame", size=9, color=GREY)
    for frame, p in enumerate(FRAMES, start=1):
        rows, arcs = step(beam, p)
        after = draw_rows(axes, frame, rows)
        totals = {row.prefix: row.blank + row.label for row in beam}
        for arc in arcs:
            start = COLUMN * (frame - 1) + LEFT + BAR * totals[arc.start] + 0.42, before[arc.start]
            end = COLUMN * frame - 0.08, after[arc.end]
            colour = GREY if arc.start == arc.end else ACCENT
            axes.plot(*zip(start, end, strict=True), color=colour, lw=0.6 + 6 * arc.mass, alpha=0.75, zorder=0)
        chances = ", ".join(f"{name} {chance:g}" for name, chance in zip(("blank", *NAMES[1:]), p, strict=True))
        axes.text(COLUMN * frame, 0.95, f"frame {frame}: {chances}", size=9, color=INK)
        beam, before = rows[:WIDTH], after
    check(beam)
    axes.set(xlim=(-0.15, COLUMN * len(FRAMES) + 2.2), ylim=(min(before.values()) - 0.5, 1.4))
    axes.axis("off")
    figure.legend(
        handles=[
            Patch(color=GREY, label="paths that end in the blank"),
            Patch(color=PALETTE[0], label="paths that end in the prefix's last label"),
            Line2D([], [], color=GREY, lw=2, label="stays"),
            Line2D([], [], color=ACCENT, lw=2, label="is extended"),
            Patch(facecolor=PALE, edgecolor=GREY, label="pale, below the dashes: leaves"),
        ],
        loc="outside lower left", ncols=3, frameon=False, fontsize=9,
    )  # fmt: skip
    return figure


def check(beam: list[Row]) -> None:
    """The drawing shows what the library computes."""
    p = torch.tensor(FRAMES, dtype=torch.float64)
    found: Any = ctckit.beam_search(p.log(), beam_width=WIDTH, nbest=WIDTH, rescore=False)
    computed = [("".join(NAMES[token] for token in one.tokens), round(math.exp(one.score), 9)) for one in found.nbest]
    if computed != [(row.prefix, round(row.blank + row.label, 9)) for row in beam]:
        raise RuntimeError(f"the library finds {computed}, but the drawing has {beam}")


if __name__ == "__main__":
    # No date and no random names, so that the same drawing is the same file; text as text, and a white ground for
    # readers with a dark page.
    with mpl.rc_context({"svg.hashsalt": "beam", "svg.fonttype": "none"}):
        path = Path(__file__).with_suffix(".svg")
        draw().savefig(path, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
