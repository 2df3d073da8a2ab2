"""How many times faster than torch is it, and do two threads halve the time?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import goals
from benchmarks.contenders import MODES, Contender, Job, ctckit_loss, step
from benchmarks.timing import Effort, in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.cases import Case

Row = dict[str, Any]

SHORT = {"tutorial", "ocr", "phone", "tiny"}  # where what a call costs counts
LARGE = {"bpe", "vocab"}  # where memory, not the recursion, takes the time


def measure(chosen: Sequence[Case], dtypes: Sequence[str], threads: Sequence[int], effort: Effort) -> Iterator[Row]:
    """The main question gets the whole effort; other dtypes, threads and calls half of it."""
    less = Effort(effort.seconds / 2, max(1, effort.least - 1), effort.most)
    for case in chosen:
        for dtype in dtypes if case.plain else ("float32",):
            job = Job.make(case, dtype)
            main = dtype == "float32"
            yield _row(case, "logits", dtype, threads[0], job, effort if main else less)
            if not main or not case.plain:
                continue
            for more in threads[1:]:
                yield _row(case, "logits", dtype, more, job, less)
            for mode in ("log_probs", "forward"):
                yield _row(case, mode, dtype, threads[0], job, less)
            if case.name in SHORT:
                yield _row(case, "ceiling", dtype, threads[0], job, less)
            if case.name in LARGE:
                for mode in ("in place", "floor"):
                    yield _row(case, mode, dtype, threads[0], job, less)


def _row(case: Case, mode: str, dtype: str, threads: int, job: Job, effort: Effort) -> Row:
    torch.set_num_threads(threads)
    measured = in_turn(*MODES[mode](job), effort)
    judged = mode == "logits" and dtype == "float32" and threads == 1
    goal = goals.SPEED.get(case.name) if judged else None
    return {
        "case": case.name,
        "mode": mode,
        "dtype": dtype,
        "threads": threads,
        **measured,
        "goal": goal,
        "verdict": goals.at_least(measured["ratio"]["p50"], goal),
    }


def scaling(chosen: Sequence[Case], threads: Sequence[int], effort: Effort) -> Iterator[Row]:
    """One thread and more threads, in turn, for batches that can be shared out."""
    for case in chosen:
        if case.N < goals.SCALING_BATCH:
            continue
        contender = step(ctckit_loss, Job.make(case))
        for more in threads:
            if more == 1:
                continue
            measured = in_turn(_on(1, contender), _on(more, contender), effort)
            goal = goals.SCALING if more == 2 else None
            yield {
                "case": case.name,
                "threads": more,
                **measured,
                "goal": goal,
                "verdict": goals.at_least(measured["ratio"]["p50"], goal),
            }


def _on(threads: int, contender: Contender) -> Contender:
    def reset() -> None:
        contender.reset()
        torch.set_num_threads(threads)

    return Contender(contender.run, reset)
