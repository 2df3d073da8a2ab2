"""How much memory does a call need above its input?

Each call is made in a fresh process: the high-water mark of a process only rises, and the
allocator keeps what it was once given. Linux only (it reads /proc/self/status).
"""

# ruff: noqa: PLC0415 - the process that starts the others needs no torch

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import goals
from benchmarks.cases import CASES, Case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Row = dict[str, Any]

MIB = 2**20
CASES_MEASURED = ("char", "bpe", "long", "vocab", "unequal")  # where it is not negligible
CONTENDERS = ("torch", "ctckit", "ctckit, in place")


def measure(chosen: Sequence[Case], threads: Sequence[int]) -> Iterator[Row]:
    """The peak of each contender; ctckit's is judged, and its limit grows with the threads."""
    if not Path("/proc/self/clear_refs").exists():
        return
    for case in chosen:
        if case.name not in CASES_MEASURED:
            continue
        gradient = 4.0 * case.T * case.N * case.C / MIB
        for number in threads:
            for who in CONTENDERS:
                if who == "torch" and number != threads[0]:
                    continue  # its memory does not depend on the threads
                limit = goals.MEMORY_PER_THREAD * number
                limit += 0 if who == "ctckit, in place" else gradient
                peak = _in_fresh_process(case.name, who, number)
                yield {
                    "case": case.name,
                    "who": who,
                    "threads": number,
                    "peak_mib": peak,
                    "gradient_mib": gradient,
                    "limit_mib": None if who == "torch" else limit,
                    "verdict": "" if who == "torch" else goals.at_most(peak, (limit, limit)),
                }


def _in_fresh_process(case: str, who: str, threads: int) -> float:
    # Fixed thresholds: glibc otherwise keeps freed blocks of up to 32 MiB, left over from
    # making the input, and serves the call from them without the peak ever showing it.
    settings = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", "benchmarks.memory", case, who, str(threads)]
    done = subprocess.run(  # noqa: S603 - ourselves
        command, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {who} on {case} failed:\n{done.stderr}")
    return float(json.loads(done.stdout)["peak_mib"])


def status(field: str) -> float:
    """A field of this process's status, in MiB: VmRSS is memory in use, VmHWM its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def _peak(case: Case, who: str, threads: int) -> float:
    import torch

    from benchmarks.contenders import Contender, Job, ctckit_loss, in_place, step, torch_loss

    def contender(job: Job) -> Contender:
        if who == "ctckit, in place":
            return in_place(job)
        return step(ctckit_loss if who == "ctckit" else torch_loss, job)

    torch.set_num_threads(threads)
    warm = contender(Job.make(CASES["tutorial"]))  # imports, thread pools, lazy tables
    warm.reset()
    warm.run()
    call = contender(Job.make(case))
    call.reset()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to the present
    before = status("VmRSS")
    result = call.run()  # held, so that the gradient counts
    after = status("VmHWM")
    del result
    return after - before


if __name__ == "__main__":
    name, contender_name, number = sys.argv[1:]
    print(json.dumps({"peak_mib": _peak(CASES[name], contender_name, int(number))}))
