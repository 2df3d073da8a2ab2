"""Threads and processes: calls from many at once, the number of threads inside, the GIL, and fork."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import ctckit
from tests.tools.cases import Arguments, Case, random_case
from tests.tools.exact_answers import Result, run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("core")

CASES = [random_case(60 + 7 * n, 1 + n % 5, 20 + 40 * n, 15, seed=n) for n in range(6)]
LARGE = random_case(1600, 8, 85, 150, seed=2)
"""Work for several threads, and a gradient in memory that the core keeps."""
ROOT = Path(__file__).parents[2]
TASKS = Path("/proc/self/task")  # on Linux: one folder per thread


def outcome(case: Case, dtype: torch.dtype = torch.float32) -> Result:
    return run(case.padded(case.logits(dtype)), logits=True)


def same(actual: Result, expected: Result) -> bool:
    return torch.equal(actual.losses, expected.losses) and torch.equal(actual.gradient, expected.gradient)


def test_many_python_threads_at_once() -> None:
    """Each thread has its own problem, of its own size; large ones too, whose gradients are in reused memory."""
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


def run_times() -> dict[str, int]:
    """Nanoseconds of run time of each thread of this process."""
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in TASKS.iterdir()}


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="cannot tell which threads run")
def test_as_many_threads_as_torch() -> None:
    """The core's threads persist. The run time of each before and after a call shows which of them worked in it.

    If other processes use the processors, a thread may not run at once: calls get longer until it does.
    """
    x, target = torch.randn(3000, 1, 60), torch.randint(1, 60, (1, 300))

    def threads_at_work(threads: int, items: int = 32) -> int:
        arguments = x.expand(-1, items, -1), target.expand(items, -1)
        torch.set_num_threads(threads)
        time.sleep(5e-3)  # threads of earlier calls fall asleep
        before = run_times()
        ctckit.ctc_loss_with_logits(*arguments)
        return sum(time - before.get(task, 0) > 1_000_000 for task, time in run_times().items())

    try:
        assert any(threads_at_work(3, 32 << k // 8) == 3 for k in range(48)), "of 3 threads not all ever worked"
        made = run_times().keys()
        assert max(threads_at_work(1) for _ in range(5)) == 1
        assert max(threads_at_work(2) for _ in range(5)) <= 2
        assert max(threads_at_work(3) for _ in range(5)) <= 3
        assert run_times().keys() <= made, "more threads than were asked for"
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("threads", [2, 4])
def test_calls_share_the_threads(threads: int) -> None:
    """Short calls from many Python threads, which start and end while the core's threads join and leave calls."""
    cases = [random_case(1600 + n, 8, 30, 100, seed=n) for n in range(4)] + [LARGE]
    expected = [outcome(case) for case in cases]
    torch.set_num_threads(threads)

    def work(seed: int) -> bool:
        torch.set_num_threads(threads)  # each Python thread sets its own number
        return all(same(outcome(cases[n]), expected[n]) for k in range(60) for n in [(seed + k) % len(cases)])

    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(4)))
    finally:
        torch.set_num_threads(1)


# The stack of a thread would exceed the address space, so the system refuses to start it.
REFUSED = """
import ctypes, os, torch, ctckit
pthread = ctypes.CDLL(None)
attributes = (ctypes.c_char * 256)()
pthread.pthread_attr_init(attributes)
def stacks_of(size):
    assert pthread.pthread_attr_setstacksize(attributes, ctypes.c_size_t(size)) == 0
    assert pthread.pthread_setattr_default_np(attributes) == 0
def tasks():
    return len(os.listdir("/proc/self/task"))
torch.set_num_threads(1)
x = torch.randn(800, 8, 20)
t = torch.ones(8, 100, dtype=torch.int64)
expected = ctckit.ctc_loss_with_logits(x, t, reduction="none").tolist()
torch.set_num_threads(3)
before = tasks()
stacks_of(2**47)
for _ in range(3):
    assert ctckit.ctc_loss_with_logits(x, t, reduction="none").tolist() == expected
    paths = ctckit.forced_align(x.transpose(0, 1), t)
assert tasks() == before, "the system gave a thread"
stacks_of(2**23)
assert ctckit.ctc_loss_with_logits(x, t, reduction="none").tolist() == expected
assert tasks() == before + 2, "no thread was started once there was room"
print("good")
"""


@pytest.mark.skipif(not TASKS.exists(), reason="needs pthread_setattr_default_np and /proc")
def test_threads_that_the_system_refuses() -> None:
    """The caller then does all the work; later calls try to start threads again."""
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert (done.returncode, done.stdout.split()) == (0, ["good"]), done.stderr


def test_the_process_ends_while_threads_wait() -> None:
    """At exit, sleeping threads are not joined and do not wake up after static destructors."""
    program = (
        "import torch, ctckit; torch.set_num_threads(3); x = torch.zeros(500, 8, 20);"
        "t = torch.ones(8, 100, dtype=torch.int64); print(bool(ctckit.ctc_loss_with_logits(x, t).isfinite()))"
    )
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
        assert (done.returncode, done.stdout.split()) == (0, ["True"]), done.stderr


# With two threads, so that any machine with two processors could run one too many.
IN_A_ROW = """
import os, torch, ctckit
x, t = torch.zeros(800, 8, 20), torch.ones(8, 100, dtype=torch.int64)
torch.set_num_threads(2)
before = len(os.listdir("/proc/self/task"))
for _ in range(5):
    ctckit.ctc_loss_with_logits(x, t)
    print(len(os.listdir("/proc/self/task")) - before)
"""


def test_the_workers_by_themselves(tmp_path: Path) -> None:
    """Thousands of calls from four threads: each does its work once, on no more threads than it set."""
    program = tmp_path / "workers"
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    command = [compiler, "-std=c++20", "-O1", "-pthread", f"-I{ROOT / 'native'}"]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    sources = [str(ROOT / "tests" / "native" / "workers.cpp"), str(ROOT / "native" / "base" / "workers.cpp")]
    subprocess.run([*command, *sources, "-o", str(program)], env=environment, check=True)  # noqa: S603
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(not TASKS.exists(), reason="needs /proc")
def test_calls_in_a_row_share_the_threads_of_the_first() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_ROW], capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert (done.returncode, done.stdout.split()) == (0, ["1"] * 5), done.stderr


def test_the_gil_is_released() -> None:
    """While one thread is in a long call, Python runs in another."""
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

    # A call that held the GIL would let the loop run once before and once after, besides switches at start and end.
    # If other processes use the processors, this thread may not run either: hence several calls.
    assert any(ticks_during_a_call() > 5 for _ in range(10))


# ---------------------------------------------------------------------------------------------------------------- fork

# In a forked child, torch's operations must not use several threads if the parent did before the fork: GNU OpenMP
# would wait forever for threads that the child lacks. So the child below gets its numbers ready-made and does not
# fill new memory: in it, only ctckit uses several threads.


def tasks() -> int:
    return len(list(TASKS.iterdir())) if TASKS.exists() else 0


def in_child(connection: Any, arguments: Arguments, threads: int) -> None:
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    with ctckit.backends.use("cpu"):
        before = tasks()
        result = [tensor.tolist() for tensor in run(arguments, logits=True)]
        connection.send((result, tasks() - before))
    connection.close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("when", ["before the first use", "after use"])
def test_fork(when: str, threads: int) -> None:
    """As in DataLoader's workers: the child computes the parent's results, also if both use several threads."""
    arguments = LARGE.padded(LARGE.logits(torch.float32))
    expected = [tensor.tolist() for tensor in run(arguments, logits=True)]
    if when == "before the first use":
        # A new process that has imported the library but computed nothing.
        context: Any = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=fork_in_fresh_process, args=(sender, threads))
        process.start()
        assert receiver.poll(120), "the child hangs"
        assert receiver.recv() == expected
        process.join()
    else:
        torch.set_num_threads(threads)
        run(arguments, logits=True)  # with threads, and with memory that is kept for the next call
        assert forked(arguments, threads) == expected
        assert [tensor.tolist() for tensor in run(arguments, logits=True)] == expected


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_fork_while_others_compute() -> None:
    """Locks that the core's threads and its callers hold at the fork are free in the child."""
    arguments = LARGE.padded(LARGE.logits(torch.float32))
    expected = [tensor.tolist() for tensor in run(arguments, logits=True)]
    # Short calls, so that threads mostly hold locks to join and leave.
    small = random_case(1600, 8, 20, 100, seed=3)
    inputs = small.padded(small.logits(torch.float32))
    done = threading.Event()

    def call() -> None:
        torch.set_num_threads(2)
        while not done.is_set():
            ctckit.ctc_loss_with_logits(*inputs)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(20):
            assert forked(arguments, 2) == expected
    finally:
        done.set()
        for caller in callers:
            caller.join()


def forked(arguments: Arguments, threads: int) -> list[Any]:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=in_child, args=(sender, arguments, threads), daemon=True)
    process.start()
    try:
        assert receiver.poll(60), "the child hangs"
        found: list[Any]
        found, threads_made = receiver.recv()
        process.join(60)
        assert process.exitcode == 0
        if TASKS.exists():
            assert threads_made == threads - 1, "the parent's did not come along: the child's own must do the work"
    finally:
        process.kill()
    return found


def fork_in_fresh_process(connection: Any, threads: int) -> None:
    connection.send(forked(LARGE.padded(LARGE.logits(torch.float32)), threads))


# -------------------------------------------------------------------------------------------------- memory that is kept


def test_memory_is_given_back() -> None:
    """Memory that the core keeps for the next call can be released, and later calls still work."""
    from ctckit.backends import cpu

    case = random_case(100, 2, 5000, 20, seed=1)
    expected = outcome(case)
    kept = Result(expected.losses.clone(), expected.gradient.clone())
    cpu.release_memory()
    assert same(expected, kept), "a gradient that is still in use has been given back"
    assert same(outcome(case), kept)


def test_a_large_gradient_after_a_smaller_one() -> None:
    """The kept memory of the first call is too small for the second."""
    from ctckit.backends import cpu

    cpu.release_memory()
    small, large = (Case("", frames, 1000, ((1, 2), (3,)), (frames, 9)) for frames in (550, 1000))  # 4 and 8 MB
    outcome(small)
    actual = outcome(large)
    cpu.release_memory()
    assert same(actual, outcome(large))


@pytest.mark.parametrize("grows", ["frames", "labels"])
def test_items_that_need_ever_more_memory(grows: str) -> None:
    """One thread computes them in order, and starts without larger memory of earlier calls."""
    from ctckit.backends import cpu

    frames = (20, 200, 900) if grows == "frames" else (900, 900, 900)
    labels = (10, 10, 10) if grows == "frames" else (1, 100, 800)
    targets = tuple(tuple(1 + s % 4 for s in range(count)) for count in labels)
    case = Case("", 900, 5, targets, frames)
    x = case.logits(torch.float32)
    cpu.release_memory()
    losses, gradient = run(case.padded(x), logits=True)
    for item in range(3):
        alone = Case("", 900, 5, targets[item : item + 1], frames[item : item + 1])
        loss, slope = run(alone.padded(x[:, item : item + 1]), logits=True)
        assert torch.equal(losses[item : item + 1], loss)
        assert torch.equal(gradient[:, item : item + 1], slope)


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
