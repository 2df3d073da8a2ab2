"""Draws docs/figures/band.svg: ``python docs/figures/band.py``.

Trains the network of examples/speech.py, which takes a minute or two, and reads twenty sentences of its test set as one
recording. The shading is the exact occupancy, from the reference; the edges are those of the core's band.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import FuncFormatter, MultipleLocator

import ctckit
from ctckit import backends
from ctckit.plot.style import ACCENT, GREY, INK, PALE, PALETTE, colour_map

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import speech
from spoken import SECONDS_PER_FRAME, TEST_VOICES, TRAINING_VOICES, Speaker, utterances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

SENTENCES = 20
SHOWN = slice(2000, 2160)  # frames of the close-up
FAINTEST = -120  # the exponent of the palest shade: what the band may leave out in float64


def recording() -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (T, C) and phonemes (S,) of sentences that the network was not trained on."""
    speaker = Speaker()
    training = utterances(speaker, speech.TRAINING_SENTENCES, TRAINING_VOICES, seed=1)
    spoken = utterances(speaker, SENTENCES, TEST_VOICES, seed=2, avoid={sentence.text for sentence in training})
    vocabulary = ["-", *sorted({phoneme for sentence in training for phoneme in sentence.phonemes})]
    torch.manual_seed(0)
    network, _ = speech.train(training, vocabulary, weight=0.0, steps=600)
    batch = speech.collate(spoken, vocabulary)
    with torch.inference_mode():
        log_probs = network(batch.sound)
    frames, labels = batch.frames.tolist(), batch.target_lengths.tolist()
    return (
        torch.cat([row[:length] for row, length in zip(log_probs, frames, strict=True)]),
        torch.cat([row[:length] for row, length in zip(batch.targets, labels, strict=True)]),
    )


def reachable(frames: int, target: torch.Tensor) -> Numbers:
    """The corners of the range of frames and positions that a path through all positions can reach."""
    labels, needed = len(target), len(target) + int((target[1:] == target[:-1]).sum())
    return np.array([(0, 0), (frames - needed, 0), (frames, labels), (needed, labels)], dtype=np.float64)


def edges(occupancy: torch.Tensor) -> tuple[Numbers, Numbers]:
    """The first and last position in each frame with an occupancy above 0. State 2k is blank k, 2k + 1 label k."""
    held = (occupancy > 0).numpy()
    first, last = held.argmax(1), held.shape[1] - 1 - held[:, ::-1].argmax(1)
    return first / 2, (last + 1) / 2


def draw_all(axes: Axes, target: torch.Tensor, band: tuple[Numbers, Numbers]) -> None:
    """The band in the whole range of positions."""
    frames = len(band[0])
    seconds = np.arange(frames) * SECONDS_PER_FRAME
    corners = reachable(frames, target) * (SECONDS_PER_FRAME, 1)
    axes.add_patch(Polygon(corners, color=PALE, lw=0, label="positions that a path can reach"))
    # Rasterized: thousands of corners would make a large file.
    axes.fill_between(seconds, *band, color=PALETTE[0], lw=0, rasterized=True, label="the band")
    bottom, top = band[0][SHOWN].min(), band[1][SHOWN].max()
    corner, size = (seconds[SHOWN.start], bottom - 8), (seconds[SHOWN.stop] - seconds[SHOWN.start], top - bottom + 16)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=INK, lw=0.8, zorder=3))
    share = (band[1] - band[0]).sum() / (frames * (len(target) + 1))
    axes.set_title(f"whole recording: the band is {share:.1%} of it", loc="left", size=10)
    axes.set(xlim=(0, seconds[-1]), ylim=(0, len(target)), ylabel="label position")
    axes.legend(loc="upper left", frameon=False, fontsize=8)


def draw_close(axes: Axes, exact: torch.Tensor, band: tuple[Numbers, Numbers]) -> None:
    """A close-up: the exact occupancy, and the band's edges."""
    shades = exact[SHOWN].T.clamp(min=1e-300).log2().numpy()
    seconds = np.arange(SHOWN.start, SHOWN.stop + 1) * SECONDS_PER_FRAME
    extent = (seconds[0], seconds[-1], 0, exact.shape[1] / 2)
    image = axes.imshow(
        np.where(shades < FAINTEST, np.nan, shades), cmap=colour_map(PALETTE[0]), vmin=FAINTEST, vmax=0,
        origin="lower", aspect="auto", interpolation="none", extent=extent,
    )  # fmt: skip
    low, high = (edge[SHOWN] for edge in band)
    for edge in (low, high):
        axes.stairs(edge, seconds, baseline=None, color=ACCENT, lw=1.2)
    axes.text(seconds[-3], low.min() - 4, "the band's edges", color=ACCENT, ha="right")
    axes.set_title("the box: occupancy", loc="left", size=10)
    axes.set(ylim=(low.min() - 8, high.max() + 8))
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
    power = FuncFormatter(lambda exponent, _: f"$2^{{{exponent:.0f}}}$" if exponent else "1")
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02, format=power, ticks=[0, -40, -80, -120])
    bar.outline.set_visible(False)
    bar.set_label("occupancy of a state")


def draw(log_probs: torch.Tensor, target: torch.Tensor) -> Figure:
    """Both panels. In float64, since float32 shows no occupancy below 2^-186, which the band may hold."""
    log_probs = log_probs.double()
    band = edges(ctckit.posteriors(log_probs, target, per_state=True))
    with backends.use("reference"):
        exact = ctckit.posteriors(log_probs, target, per_state=True)
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    whole, close = figure.subplots(1, 2, width_ratios=[1, 1.2])
    draw_all(whole, target, band)
    draw_close(close, exact, band)
    for axes in (whole, close):
        axes.set_xlabel("seconds")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(GREY)
    return figure


if __name__ == "__main__":
    torch.set_num_threads(1)
    picture = draw(*recording())
    # No date and no random names, so that the same drawing is the same file; text as text, and a white ground for
    # readers with a dark page.
    with mpl.rc_context({"svg.hashsalt": "band", "svg.fonttype": "none"}):
        path = Path(__file__).with_suffix(".svg")
        picture.savefig(path, dpi=200, metadata={"Date": None}, facecolor="white")
