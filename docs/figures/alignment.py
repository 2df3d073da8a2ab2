"""Draws docs/figures/alignment.svg: ``python docs/figures/alignment.py``.

The recording of docs/alignment.md, which is none: logits that say CAT DOG, and a tone that is loud where they do.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure

import ctckit

VOCABULARY = ["<pad>", "|", "A", "C", "D", "E", "F", "G", "O", "T"]
HEARD = [0, 3, 3, 0, 2, 2, 2, 9, 0, 1, 0, 0, 0, 0, 0, 0, 4, 8, 8, 8, 0, 7, 7, 0]
SAMPLES = 80  # per frame

if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(HEARD), len(VOCABULARY), generator=generator)
    logits = 4 * torch.nn.functional.one_hot(torch.tensor(HEARD), len(VOCABULARY)) + noise
    loud = (torch.tensor(HEARD) > 1).float().repeat_interleave(SAMPLES)
    smooth = torch.nn.functional.avg_pool1d(loud[None], SAMPLES + 1, stride=1, padding=SAMPLES // 2)[0]
    waveform = (0.04 + smooth) * torch.randn(len(loud), generator=generator)
    alignment = ctckit.align(logits, "CAT DOG", VOCABULARY, logits=True, frame_duration=0.02)
    figure = Figure(figsize=(9.6, 3.4))
    alignment.plot(logits, waveform=waveform, ax=figure.subplots())
    # No date and no random names, so that the same drawing is the same file; text as text, and a white ground for
    # readers with a dark page.
    with mpl.rc_context({"svg.hashsalt": "alignment", "svg.fonttype": "none"}):
        path = Path(__file__).with_suffix(".svg")
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
