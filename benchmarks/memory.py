"""How much memory does a call need above its input?

Each call is made in a fresh process: the high-water mark of a process only rises, and the allocator keeps what it was
once given. Linux only (it reads /proc/self/status).
"""

from __future__ import annotations

import gc
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.calls import Batch, ctckit_loss, in_place, step, torch_loss
from benchmarks.cases import LOSSES
from benchmarks.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.settings import Row, Settings
    from benchmarks.timing import Call

CASES_MEASURED = ("char", "bpe", "long", "vocab", "unequal")  # where it is not negligible
CALLS: dict[str, Callable[[Batch], Call]] = {
    "torch": lambda batch: step(torch_loss, batch),
    "ctckit": lambda batch: step(ctckit_loss, batch),
    "ctckit, in place": in_place,
}
HIGH_WATER_MARK = Path("/proc/self/clear_refs")
# Fixed thresholds: glibc otherwise keeps freed blocks of up to 32 MiB, left over from making the input, and serves the
# call from them without the peak ever showing it.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def measure(settings: Settings) -> Iterator[Row]:
    """The peak of each call."""
    if not HIGH_WATER_MARK.exists():
        return
    for case in settings.among({name: LOSSES[name] for name in CASES_MEASURED}):
        for threads, who in itertools.product(settings.threads, CALLS):
            if who == "torch" and threads != settings.threads[0]:
                continue  # its memory does not depend on the threads
            call = "benchmarks.memory:loss_peak", case.name, who, threads
            with Process(*call, seconds=120, environment=MALLOC) as process:
                row = {"case": case.name, "who": who, "threads": threads, "peak_mib": process.ask()}
            yield row | {"gradient_mib": 4.0 * case.T * case.N * case.C / 2**20}


def loss_peak(case: str, who: str, threads: int) -> float:
    """MiB of a call above its input."""
    torch.set_num_threads(threads)
    warm = CALLS[who](Batch.make(LOSSES["tutorial"]))  # imports, thread pools, lazy tables
    warm.reset()
    warm.run()
    call = CALLS[who](Batch.make(LOSSES[case]))
    call.reset()
    return peak(call.run)[1]


def peak(run: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call, and the MiB that it needs at most, its result included, above what was in use before."""
    gc.collect()
    HIGH_WATER_MARK.write_text("5")  # the high-water mark falls to the present
    before = _status("VmRSS")
    result = run()
    return result, _status("VmHWM") - before


def _status(field: str) -> float:
    """A field of this process's status, in MiB: VmRSS is memory in use, VmHWM its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)
