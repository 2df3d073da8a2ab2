"""Draws docs/figures/occupancy.svg: ``python docs/figures/occupancy.py``.

The target of trellis.svg, with its states filled by their occupancy: of a network that knows nothing, and of one that
is sure of E - - L - L, the peaks and the blanks.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure

import ctckit
from ctckit import plot

TARGET = torch.tensor([1, 2, 2])
PATH = [1, 0, 0, 2, 0, 2]

if __name__ == "__main__":
    nothing = torch.zeros(len(PATH), 3)
    sure = 5 * torch.nn.functional.one_hot(torch.tensor(PATH), 3).float()
    figure = Figure(figsize=(9.6, 5.2))
    for axes, logits, title in zip(figure.subplots(1, 2), (nothing, sure), ("knows nothing", "is sure"), strict=True):
        occupancy = ctckit.posteriors(logits, TARGET, logits=True, per_state=True)
        plot.trellis("ELL", occupancy=occupancy, legend=False, ax=axes)
        axes.set_title(title)
    # No date and no random names, so that the same drawing is the same file; text as text, and a white ground for
    # readers with a dark page.
    with mpl.rc_context({"svg.hashsalt": "occupancy", "svg.fonttype": "none"}):
        path = Path(__file__).with_suffix(".svg")
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
