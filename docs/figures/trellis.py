"""Draws docs/figures/trellis.svg: ``python docs/figures/trellis.py``.

A small target with a repeat, and a path that takes an arc of each kind: E E L - L L.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from ctckit import plot

if __name__ == "__main__":
    figure = Figure(figsize=(4.8, 5.6))
    plot.trellis("ELL", path=[1, 1, 3, 4, 5, 5], ax=figure.subplots())
    # No date and no random names, so that the same drawing is the same file; text as text, and a white ground for
    # readers with a dark page.
    with mpl.rc_context({"svg.hashsalt": "trellis", "svg.fonttype": "none"}):
        path = Path(__file__).with_suffix(".svg")
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
