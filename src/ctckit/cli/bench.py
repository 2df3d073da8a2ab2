"""``ctckit bench``: a short measurement of the speed on this machine.

The full benchmarks are in ``benchmarks/`` in the repository; they are not installed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import ctckit

__all__ = ["measure", "show"]


class Shape(NamedTuple):
    """The shape of a batch."""

    name: str
    frames: int
    items: int
    classes: int
    labels: int


SHAPES = (
    Shape("lines of text", 64, 64, 96, 12),
    Shape("speech, letters", 1000, 16, 32, 150),
    Shape("speech, word pieces", 400, 8, 5000, 40),
)


class Timing(NamedTuple):
    """Median times, in seconds."""

    torch: float
    ctckit: float
    align: float


def measure(shape: Shape, seconds: float) -> Timing:
    """Time loss and gradient of torch and of ctckit, and ctckit's best paths, in turn.

    Args:
        shape: shape of the batch.
        seconds: duration of the measurement; there are at least three rounds.
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape.frames, shape.items, shape.classes, generator=generator).requires_grad_()
    targets = torch.randint(1, shape.classes, (shape.items, shape.labels), generator=generator)
    frames, labels = torch.full((shape.items,), shape.frames), torch.full((shape.items,), shape.labels)
    log_probs = logits.detach().log_softmax(2).transpose(0, 1)

    def theirs() -> Tensor:
        return torch.nn.functional.ctc_loss(logits.log_softmax(2), targets, frames, labels)

    def ours() -> Tensor:
        return ctckit.ctc_loss_with_logits(logits, targets, frames, labels)

    calls: tuple[Callable[[], object], ...] = (
        lambda: torch.autograd.grad(theirs(), logits),
        lambda: torch.autograd.grad(ours(), logits),
        lambda: ctckit.forced_align(log_probs, targets, frames, labels, infeasible="blank"),
    )
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    end = time.perf_counter() + seconds
    while len(times[0]) < 3 or time.perf_counter() < end:
        for call, row in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            row.append(time.perf_counter() - start)
    return Timing(*map(statistics.median, times))


def show(seconds: float) -> int:
    """Measure all shapes with one thread and with all threads, and print a table."""
    console = Console()
    all_threads = torch.get_num_threads()
    backend = ctckit.backends.name_for(torch.device("cpu"))
    console.print(
        f"ctckit {ctckit.__version__} (backend {backend}), torch {torch.__version__}, float32", highlight=False
    )
    table = Table("shape", "T, N, C, S", "threads", caption="loss and gradient from logits; medians, in turn")
    for name in ("torch ms", "ctckit ms", "faster", "best paths ms"):
        table.add_column(name, justify="right")
    try:
        for threads in sorted({1, all_threads}):
            torch.set_num_threads(threads)
            for shape in SHAPES:
                with console.status(f"{shape.name}, threads: {threads}"):
                    timing = measure(shape, seconds)
                table.add_row(
                    shape.name, ", ".join(map(str, shape[1:])), str(threads), f"{1e3 * timing.torch:.2f}",
                    f"{1e3 * timing.ctckit:.2f}", f"{timing.torch / timing.ctckit:.1f}x", f"{1e3 * timing.align:.2f}",
                )  # fmt: skip
    finally:
        torch.set_num_threads(all_threads)
    console.print(table)
    return 0
