"""Threads and processes: calls from many at once, the number of threads inside, the GIL, and fork."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import ctckit
from cases import Arguments, Case, random_case
from judge import Result, run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("core")

CASES = [random_case(60 + 7 * n, 1 + n % 5, 20 + 40 * n, 15, seed=n) for n in range(6)]
LARGE = random_case(400, 8, 300, 40, seed=2)
"""Work enough for several threads, and a gradient in memory that is kept."""


def outcome(case: Case, dtype: torch.dtype = torch.float32) -> Result:
    return run(case.padded(case.logits(dtype)), logits=True)


def same(actual: Result, expected: Result) -> bool:
    return torch.equal(actual.losses, expected.losses) and torch.equal(actual.gradient, expected.gradient)


def test_many_python_threads_at_once() -> None:
    """Each with its own problem, sizes all different; large ones too, whose gradients are in memory used again."""
    cases = [*CASES, random_case(200, 4, 700, 30, seed=9)]
    expected = [outcome(case) for case in cases]
    barrier = threading.Barrier(8)

    def work(seed: int) -> bool:
        barrier.wait()
        return all(same(outcome(cases[n]), expected[n]) for k in range(12) for n in [(seed + k) % len(cases)])

    with ctckit.backends.use("cpu"), ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_errors_in_one_thread_do_not_touch_others() -> None:
    expected = outcome(CASES[0])

    def work(number: int) -> bool:
        if number % 2:
            bad = CASES[0].padded(CASES[0].logits())._replace(blank=3, targets=CASES[0].table(0) * 0 + 3)
            try:
                run(bad, logits=True)
            except ValueError:
                return True
            return False
        return same(outcome(CASES[0]), expected)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(40)))


def test_a_forced_backend_is_the_threads_own() -> None:
    names = []
    with ctckit.backends.use("reference"):
        other = threading.Thread(target=lambda: names.append(ctckit.backends.name_for(torch.device("cpu"))))
        other.start()
        other.join()
    assert names == ["cpu"]


def seconds_of(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall time, and processor time of all threads of the process."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cannot tell how many threads are made")
def test_as_many_threads_as_torch() -> None:
    """The core's threads live for a call; their number is seen from the outside, in a call of some length."""
    case = random_case(3000, 8, 60, 400, seed=1)
    arguments = case.padded(case.logits(torch.float32))

    def tasks() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def most_threads(threads: int) -> int:
        torch.set_num_threads(threads)
        base, seen = tasks(), 0
        while seen < 20:  # threads of earlier tests may be about to end
            time.sleep(5e-3)
            base, seen = (base, seen + 1) if tasks() == base else (tasks(), 0)
        most, done = base, threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.is_set():
                most = max(most, tasks())

        watcher = threading.Thread(target=watch)
        watcher.start()
        base += 1
        for _ in range(100):  # the watcher may not come to its turn, where other processes take the processors
            ctckit.ctc_loss_with_logits(*arguments)
            if most >= base + threads - 1 and threads > 1:
                break
        done.set()
        watcher.join()
        return most - base + 1

    try:
        assert most_threads(1) == 1
        assert most_threads(3) == 3
    finally:
        torch.set_num_threads(1)


def test_the_gil_is_released() -> None:
    """While one thread is in a long call, Python goes on in another."""
    case = random_case(4000, 8, 60, 500, seed=1)
    arguments = case.padded(case.logits(torch.float32))

    def ticks_during_a_call() -> int:
        started, done, ticks = threading.Event(), threading.Event(), 0

        def call() -> None:
            started.set()
            ctckit.ctc_loss_with_logits(*arguments)
            done.set()

        thread = threading.Thread(target=call)
        thread.start()
        started.wait()
        while not done.is_set():
            ticks += 1
            time.sleep(1e-4)
        thread.join()
        return ticks

    # A call that held it would let the loop run once before and once after, besides switches when it starts and ends.
    # Where other processes take the processors this thread may not come to its turn either: hence several calls.
    assert any(ticks_during_a_call() > 5 for _ in range(10))


# ---------------------------------------------------------------------------------------------------------------- fork

# torch's own operations must not share their work out in a child whose parent did so before the fork: GNU OpenMP then
# waits forever for threads that did not come along. So the child below is given its numbers ready-made, and does not
# fill fresh memory, and all that runs on several threads in it is ctckit.


def in_child(connection: Any, arguments: Arguments, threads: int) -> None:
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    with ctckit.backends.use("cpu"):
        connection.send([tensor.tolist() for tensor in run(arguments, logits=True)])
    connection.close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("when", ["before the first use", "after use"])
def test_fork(when: str, threads: int) -> None:
    """As DataLoader's workers do: in the child all is as in the parent, also where both use several threads."""
    arguments = LARGE.padded(LARGE.logits(torch.float32))
    expected = [tensor.tolist() for tensor in run(arguments, logits=True)]
    if when == "before the first use":
        # A fresh process, which has imported the library but computed nothing.
        context: Any = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=fork_in_fresh_process, args=(sender, threads))
        process.start()
        assert receiver.poll(120), "the child hangs"
        assert receiver.recv() == expected
        process.join()
    else:
        torch.set_num_threads(threads)
        run(arguments, logits=True)  # with threads, and with memory kept for the next call
        assert forked(arguments, threads) == expected
        assert [tensor.tolist() for tensor in run(arguments, logits=True)] == expected


def forked(arguments: Arguments, threads: int) -> list[Any]:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=in_child, args=(sender, arguments, threads), daemon=True)
    process.start()
    try:
        assert receiver.poll(60), "the child hangs"
        found: list[Any] = receiver.recv()
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()
    return found


def fork_in_fresh_process(connection: Any, threads: int) -> None:
    connection.send(forked(LARGE.padded(LARGE.logits(torch.float32)), threads))


# -------------------------------------------------------------------------------------------------- memory that is kept


def test_memory_is_given_back() -> None:
    """What the core keeps for the next call can be asked back, and later calls are none the worse."""
    from ctckit.backends import cpu

    case = random_case(100, 2, 5000, 20, seed=1)
    expected = outcome(case)
    kept = Result(expected.losses.clone(), expected.gradient.clone())
    cpu.release_memory()
    assert same(expected, kept), "a gradient that is still in use has been given back"
    assert same(outcome(case), kept)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow() -> None:
    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # not a path
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    case = random_case(100, 4, 5000, 20, seed=1)  # a gradient of 8 MB
    arguments = case.padded(case.logits(torch.float32))
    for _ in range(3):
        run(arguments, logits=True)
    before = resident()
    for _ in range(30):
        run(arguments, logits=True)
    assert resident() - before < 32 << 20
