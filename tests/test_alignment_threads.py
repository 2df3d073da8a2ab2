"""Alignment from many Python threads at once: the same answers, and Python runs on meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import ctckit
from cases import random_case

pytest.importorskip("ctckit._core")


def test_many_threads_at_once_give_what_one_gives() -> None:
    cases = [random_case(60 + 7 * k, 3, 20, 15, seed=k) for k in range(8)]
    inputs = []
    for case in cases:
        x, targets, input_lengths, target_lengths, blank = case.padded(case.logits(torch.float32).log_softmax(2))
        inputs.append((x.transpose(0, 1), targets, input_lengths, target_lengths, blank))
    expected = [ctckit.forced_align(*arguments, infeasible="blank") for arguments in inputs]
    together = threading.Barrier(8)

    def work(k: int) -> list[bool]:
        together.wait()
        same = []
        for turn in range(24):
            which = (k + turn) % len(inputs)
            paths, scores = ctckit.forced_align(*inputs[which], infeasible="blank")
            same.append(torch.equal(paths, expected[which][0]) and torch.equal(scores, expected[which][1]))
        return same

    with ThreadPoolExecutor(8) as pool:
        assert all(all(same) for same in pool.map(work, range(8)))


@pytest.mark.parametrize("threads", [1, 2])
def test_python_runs_while_the_core_aligns(threads: int) -> None:
    """The GIL is released: another thread gets on during one call, which is not long enough to be preempted."""
    x, targets = torch.zeros(2, 40_000, 8), torch.ones(2, 4_000, dtype=torch.int64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    done = threading.Event()
    marks: list[float] = []
    started = threading.Event()

    def watch() -> None:
        started.set()
        while not done.is_set():
            marks.append(time.perf_counter())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started.wait()
    try:
        begin = time.perf_counter()
        ctckit.forced_align(x, targets)
        end = time.perf_counter()
    finally:
        done.set()
        watcher.join()
        torch.set_num_threads(before)
    inside = [mark for mark in marks if begin + 0.1 * (end - begin) < mark < end - 0.1 * (end - begin)]
    assert len(inside) >= 3, f"{len(inside)} times in {end - begin:.3f} s"
