"""Draws docs/figures/weights.svg: ``python docs/figures/weights.py``.

The scores of hypotheses against the weight of a language model, and of a hotword: the examples of
docs/language-models.md and docs/hotwords.md.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

import ctckit
from ctckit.plot.style import GREY, INK, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARPA = """\
\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.5	<unk>
-99	<s>	-0.3
-1.0	</s>
-0.8	i	-0.3
-1.2	see	-0.3
-1.2	sea	-0.3
-0.5	the	-0.3

\\2-grams:
-0.3	<s> i
-0.3	i see
-0.3	the sea
-0.4	see </s>

\\end\\
"""
Frames = list[str | dict[str, float]]
SEA: Frames = ["i", "|", "s", "e", "-", {"a": 0.6, "e": 0.35}, "-"]
YORK: Frames = [*"new|", {"y": 0.9}, {"o": 0.55, "a": 0.4}, "r", {"c": 0.6, "k": 0.35}, "|", "k", "i", "n"]


def emissions(vocabulary: list[str], frames: Frames) -> torch.Tensor:
    """Log-probabilities; what a frame does not name shares what is left."""
    rows = []
    for frame in frames:
        named = frame if isinstance(frame, dict) else {frame: 0.97}
        rest = (1 - sum(named.values())) / (len(vocabulary) - len(named))
        rows.append([math.log(named.get(token, rest)) for token in vocabulary])
    return torch.tensor(rows)


def draw_lines(axes: Axes, weights: np.ndarray, scores: dict[str, list[float]], best: list[str]) -> None:
    """A line for each text; the crossings of the first two; a check that the best is what the decoder finds."""
    for colour, (text, row) in zip((PALETTE[0], PALETTE[1], GREY), scores.items(), strict=False):
        axes.plot(weights, row, color=colour, lw=2, label=f"“{text}”")
    for place, text in enumerate(best):
        if text != max(scores, key=lambda name: scores[name][place]):
            raise RuntimeError(f"at the weight {weights[place]} the decoder finds {text!r}")
    first, second = list(scores.values())[:2]
    ahead = np.array(first) - np.array(second)
    (at,) = np.flatnonzero(np.diff(np.sign(ahead)))
    crossing = weights[at] + (weights[at + 1] - weights[at]) * ahead[at] / (ahead[at] - ahead[at + 1])
    axes.axvline(crossing, color=INK, lw=0.8, ls=(0, (4, 3)))
    axes.annotate(
        f"{crossing:.2f}", (crossing, 1), (4, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
        va="top", color=INK,
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(weights[0], weights[-1])
    axes.legend(frameon=False)


def draw() -> Figure:
    """Two plots side by side."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    letters = ["-", "|", *"aehist"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "2gram.arpa"
        path.write_text(ARPA)
        lm = ctckit.NGram(path)
    weights, heard = np.linspace(0, 1, 26), emissions(letters, SEA)

    def decode(names: list[str], x: torch.Tensor, **options: Any) -> Any:
        return ctckit.Decoder(names, beam_width=64, nbest=64, **options)(x)

    found = [decode(letters, heard, lm=lm, lm_weight=weight, word_bonus=0.0) for weight in weights]
    rows = {text: [score(one, text) for one in found] for text in ("i sea", "i see")}
    draw_lines(left, weights, rows, [one.text for one in found])
    left.set(xlabel="lm_weight", ylabel="score, nats")
    letters = ["-", "|", *"aceiknorwy"]
    weights, heard = np.linspace(0, 2, 26), emissions(letters, YORK)
    found = [decode(letters, heard, hotwords={"new york": weight}) for weight in weights]
    rows = {text: [score(one, text) for one in found] for text in ("new yorc kin", "new york kin", "new yarc kin")}
    draw_lines(right, weights, rows, [one.text for one in found])
    right.set(xlabel="weight of the hotword “new york”, nats")
    return figure


def score(decoding: Any, text: str) -> float:
    """The score of the best hypothesis with a text."""
    return float(max(one.score for one in decoding.nbest if one.text == text))


if __name__ == "__main__":
    # No date and no random names, so that the same drawing is the same file; text as text, and a white ground for
    # readers with a dark page.
    with mpl.rc_context({"svg.hashsalt": "weights", "svg.fonttype": "none"}):
        path = Path(__file__).with_suffix(".svg")
        draw().savefig(path, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
