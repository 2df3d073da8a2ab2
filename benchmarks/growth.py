"""How does time grow with frames T, labels S, classes C and batch N?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.cases import Case
from benchmarks.contenders import MODES, Job
from benchmarks.timing import Effort, in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]

BASE = Case("growth", T=400, N=4, C=64, S=60)
AXES = {
    "T": (125, 250, 500, 1000, 2000, 4000, 8000),
    "S": (6, 12, 24, 48, 96, 192),
    "C": (16, 64, 256, 1024, 4096, 16384),
    "N": (1, 2, 4, 8, 16, 32, 64),
}


def measure(effort: Effort, largest: int | None = None) -> Iterator[Row]:
    """One thread, float32, from logits to their gradient; `largest` cuts the axes short."""
    torch.set_num_threads(1)
    for axis, all_sizes in AXES.items():
        sizes = all_sizes[:largest]
        times = [in_turn(*MODES["logits"](Job.make(_at(axis, size))), effort) for size in sizes]
        row: Row = {"axis": axis, "sizes": list(sizes)}
        for who, key in (("torch", "first_ms"), ("ctckit", "second_ms")):
            medians = [time[key]["p50"] for time in times]
            row[f"{who}_ms"] = medians
            row[f"{who}_slope"] = slope(sizes, medians)
        yield row


def _at(axis: str, size: int) -> Case:
    sizes = {name: getattr(BASE, name) for name in AXES} | {axis: size}
    return Case(BASE.name, **sizes)


def slope(sizes: tuple[int, ...], times: list[float]) -> float | None:
    """The exponent p of time ~ size^p, over the larger half: small sizes pay for the call."""
    start = len(sizes) // 2
    if len(sizes) - start < 2:
        return None
    return float(np.polyfit(np.log(sizes[start:]), np.log(times[start:]), 1)[0])
