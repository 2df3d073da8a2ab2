"""The numbers to reach. Every table marks its rows by these and by nothing else."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["aim", "must", "missed", ""]

# Times faster than torch, from logits to their gradient, float32, one thread: (must, aim).
SPEED: dict[str, tuple[float, float]] = {
    "char": (30, 60),
    "long": (30, 60),
    "phone": (30, 60),
    "tutorial": (12, 25),
    "ocr": (12, 25),
    "bpe": (12, 20),
    "vocab": (12, 20),
    "tiny": (1, 3),
}
PEER_SPEED = (1.0, 10.0)  # times faster than any other peer, on every shape
SCALING = (1.8, 1.8)  # 2 threads against 1, for batches of at least SCALING_BATCH items
SCALING_BATCH = 8
GRADIENT_ERROR = (2e-6, 5e-7)  # relative to the float64 gradient's norm, float32
LOSS_ERROR = (2e-6, 2e-7)
MEMORY_PER_THREAD = 16.0  # MiB above the input and (unless in place) one gradient


def at_least(value: float, goal: tuple[float, float] | None) -> Verdict:
    """Judge a value that should be large."""
    if goal is None:
        return ""
    must, aim = goal
    return "aim" if value >= aim else "must" if value >= must else "missed"


def at_most(value: float, goal: tuple[float, float] | None) -> Verdict:
    """Judge a value that should be small; NaN is a miss."""
    if goal is None:
        return ""
    must, aim = goal
    return "aim" if value <= aim else "must" if value <= must else "missed"
