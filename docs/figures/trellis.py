"""Draws docs/figures/trellis.svg: the trellis of the target "ELL" over six frames. ``python docs/figures/trellis.py``.

A small target with every kind of arc, and with a repeated label, before which no skip is allowed.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt

TARGET = "ELL"
FRAMES = 6
PATH = [1, 1, 3, 4, 5, 5]  # one alignment, by the state in each frame: E E L - L L

BLANK = "-"
STATES = [TARGET[s // 2] if s % 2 else BLANK for s in range(2 * len(TARGET) + 1)]
ARCS = {"stay": "#7a7a7a", "step": "#1f77b4", "skip": "#d95f02"}


def arcs() -> list[tuple[str, int, int]]:
    """Kind, state before and state after of every arc from one frame to the next."""
    found = []
    for s, label in enumerate(STATES):
        found.append(("stay", s, s))
        if s >= 1:
            found.append(("step", s - 1, s))
        if s >= 2 and label not in (BLANK, STATES[s - 2]):
            found.append(("skip", s - 2, s))
    return found


def reached() -> list[list[bool]]:
    """Per frame and state: whether a path leads from the start through it to an end."""
    last = len(STATES) - 1
    forward = [[s <= 1 for s in range(last + 1)]]
    backward = [[s >= last - 1 for s in range(last + 1)]]
    for _ in range(FRAMES - 1):
        forward.append([any(forward[-1][a] for _, a, b in arcs() if b == s) for s in range(last + 1)])
        backward.append([any(backward[-1][b] for _, a, b in arcs() if a == s) for s in range(last + 1)])
    return [[f and b for f, b in zip(*rows, strict=True)] for rows in zip(forward, reversed(backward), strict=True)]


def draw(path: Path) -> None:
    """Writes the figure."""
    alive = reached()
    figure, axes = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
    for t in range(FRAMES - 1):
        for kind, a, b in arcs():
            used = PATH[t] == a and PATH[t + 1] == b
            if alive[t][a] and alive[t + 1][b]:
                axes.annotate(
                    "",
                    xy=(t + 1, b),
                    xytext=(t, a),
                    arrowprops={
                        "arrowstyle": "-|>",
                        "color": ARCS[kind],
                        "linewidth": 2.6 if used else 0.9,
                        "alpha": 1 if used else 0.55,
                        "shrinkA": 11,
                        "shrinkB": 11,
                    },
                )
    for t in range(FRAMES):
        for s, label in enumerate(STATES):
            on_path = PATH[t] == s
            color = "#222222" if alive[t][s] else "#c8c8c8"
            axes.plot(t, s, "o", markersize=19, color="#fff3bf" if on_path else "white", markeredgecolor=color)
            axes.text(t, s, label, ha="center", va="center", color=color, fontsize=11)

    for kind, color in ARCS.items():
        axes.plot([], [], color=color, linewidth=2.6, label=kind)
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.12), frameon=False)
    names = ["blank" if label == BLANK else f"label {(s + 1) // 2}: {label}" for s, label in enumerate(STATES)]
    axes.set_yticks(range(len(STATES)), [f"{s}  {name}" for s, name in enumerate(names)])
    axes.set_xticks(range(FRAMES), [f"t = {t + 1}" for t in range(FRAMES)])
    axes.set_xlim(-0.45, FRAMES - 0.55)
    axes.set_ylim(len(STATES) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # No date and no random identifiers: the same script gives the same file.
    with mpl.rc_context({"svg.hashsalt": "trellis", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".svg"))
