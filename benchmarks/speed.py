"""How many times faster than torch is it, do two threads halve the time, and how does time grow?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.calls import DTYPES, MODES, Batch, ctckit_loss, step
from benchmarks.cases import LOSSES, Case
from benchmarks.timing import Call, Effort, compare, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.settings import Row, Settings

SHORT = {"tutorial", "ocr", "phone", "tiny"}  # where the overhead of a call counts
LARGE = {"bpe", "vocab"}  # where memory, not the recursion, takes the time
SHARED = 8  # items of a batch that is measured on more threads

AXES = {
    "T": [Case("growth", size, 4, 64, 60) for size in (125, 250, 500, 1000, 2000, 4000, 8000)],
    "S": [Case("growth", 400, 4, 64, size) for size in (6, 12, 24, 48, 96, 192)],
    "C": [Case("growth", 400, 4, size, 60) for size in (16, 64, 256, 1024, 4096, 16384)],
    "N": [Case("growth", 400, size, 64, 60) for size in (1, 2, 4, 8, 16, 32, 64)],
}


def measure(settings: Settings) -> Iterator[Row]:
    """Loss and gradient on one thread in float32 get the whole effort; other dtypes, threads and calls half of it."""
    effort, less = settings.effort(2.0, 3), settings.effort(1.0, 2)
    first, *others = settings.threads
    for case in settings.among(LOSSES):
        for dtype in DTYPES if case.plain else ("float32",):
            batch, main = Batch.make(case, dtype), dtype == "float32"
            yield _row(case, "logits", dtype, first, batch, effort if main else less)
            if not main or not case.plain:
                continue
            for threads in others:
                yield _row(case, "logits", dtype, threads, batch, less)
            modes = ["log_probs", "forward", *["ceiling"] * (case.name in SHORT)]
            for mode in modes + ["in place", "floor"] * (case.name in LARGE):
                yield _row(case, mode, dtype, first, batch, less)


def _row(case: Case, mode: str, dtype: str, threads: int, batch: Batch, effort: Effort) -> Row:
    torch.set_num_threads(threads)
    measured = compare(*MODES[mode](batch), effort)
    return {"case": case.name, "mode": mode, "dtype": dtype, "threads": threads, **measured}


def scaling(settings: Settings) -> Iterator[Row]:
    """One thread and more threads, in turn, for batches that can be shared out."""

    def on(threads: int, call: Call) -> Call:
        def reset() -> None:
            call.reset()
            torch.set_num_threads(threads)

        return Call(call.run, reset)

    for case in settings.among(LOSSES):
        call = step(ctckit_loss, Batch.make(case))
        for threads in settings.threads:
            if threads > 1 and case.N >= SHARED:
                measured = compare(on(1, call), on(threads, call), settings.effort(0.5, 7))
                yield {"case": case.name, "threads": threads, **measured}


def growth(settings: Settings) -> Iterator[Row]:
    """Loss and gradient against frames T, labels S, classes C and batch N."""
    names = ("torch", "ctckit")
    yield from along(AXES, names, lambda case: MODES["logits"](Batch.make(case)), settings.effort(0.3, 2), settings)


def along(
    axes: Mapping[str, Sequence[Case]],
    names: Sequence[str],
    calls: Callable[[Case], Sequence[Call]],
    effort: Effort,
    settings: Settings,
) -> Iterator[Row]:
    """Median milliseconds of named calls along each axis, on one thread, and the exponents of their growth."""
    torch.set_num_threads(1)
    for axis, shapes in axes.items():
        chosen = shapes[:3] if settings.quick else shapes
        sizes = [getattr(case, axis) for case in chosen]
        row: Row = {"axis": axis, "sizes": sizes}
        medians = 1e3 * np.array([np.median(in_turn(calls(case), effort), axis=0) for case in chosen])
        for who, times in zip(names, medians.T.tolist(), strict=True):
            row |= {f"{who}_ms": times, f"{who}_slope": slope(sizes, times)}
        yield row


def slope(sizes: Sequence[int], times: Sequence[float]) -> float | None:
    """The exponent p of time ~ size^p, over the larger half: the overhead of a call dominates small sizes."""
    start = len(sizes) // 2
    if len(sizes) - start < 2:
        return None
    return float(np.polyfit(np.log(sizes[start:]), np.log(times[start:]), 1)[0])
