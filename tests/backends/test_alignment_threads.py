"""Alignment from many Python threads at once: the same results, and the GIL is released."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import ctckit
from tests.tools.cases import random_case

pytest.importorskip("ctckit._core")

from ctckit.backends import cpu
from ctckit.lattice.pattern import compile_pattern


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


def ticks_during(call: Callable[[], object]) -> int:
    """Count how often another Python thread runs in the middle of a call, at most once a millisecond."""
    done, started = threading.Event(), threading.Event()
    marks: list[float] = []

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
        call()
        end = time.perf_counter()
    finally:
        done.set()
        watcher.join()
    return sum(begin + 0.1 * (end - begin) < mark < end - 0.1 * (end - begin) for mark in marks)


@pytest.mark.parametrize("threads", [1, 2])
def test_python_runs_while_the_core_aligns(threads: int) -> None:
    """The GIL is released: another thread runs during one call, which is too short to be preempted."""
    x, targets = torch.zeros(2, 40_000, 8), torch.ones(2, 4_000, dtype=torch.int64)
    torch.set_num_threads(threads)
    assert any(ticks_during(lambda: ctckit.forced_align(x, targets)) >= 3 for _ in range(5))


@pytest.mark.parametrize("function", ["best_graph_paths", "sample_graph_paths", "graph_posteriors"])
def test_python_runs_while_the_core_walks_a_graph(function: str) -> None:
    """Only the core's call is timed: between Python operations, threads switch anyway."""
    frames = 3000
    pattern = [ctckit.Alternatives([1], [2, 3]) for _ in range(300)]
    emissions, graph = torch.zeros(frames, 8).double().log_softmax(1), compile_pattern(pattern, 8)
    calls: dict[str, Callable[[], object]] = {
        "best_graph_paths": lambda: cpu.best_graph_paths(emissions, graph, 4),
        "sample_graph_paths": lambda: cpu.sample_graph_paths(emissions, graph, torch.rand(4, frames).double()),
        "graph_posteriors": lambda: cpu.graph_posteriors(emissions, graph),
    }
    assert any(ticks_during(calls[function]) >= 3 for _ in range(5))
