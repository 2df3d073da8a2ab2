"""One task on many items in worker processes: outcomes in order, none lost when a worker dies.

Each worker has a pipe. It receives a few items at a time, processes them in that order, and answers each one. If it
dies, the first unanswered item is the one that it died on; the others go to other workers. That item is tried once
more, because a process may be killed for another reason. If the second worker dies too, the item has a fault.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

import torch

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.manifest import Item
from ctckit.corpus.outcomes import Fault, Outcome
from ctckit.corpus.tasks import Task

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["run_in_processes", "worker_pool"]

_QUEUED = 4  # items queued per worker beside the current one, so that no worker is idle
_MAX_BUFFERED = 512  # outcomes kept while an earlier one is missing
_MAX_DEATHS = 2  # workers that may die on one item
_MAX_FAILED_STARTS = 3  # workers in a row that may die before they are ready


def run_in_processes(task: Task, items: Iterable[Item], workers: int) -> Iterator[Outcome]:
    """Do a task with items in worker processes, each with one thread.

    Args:
        task: what to do.
        items: the items. They are read as workers need them, never all at once.
        workers: number of processes. They are started with "spawn", so a program that calls this function needs
            ``if __name__ == "__main__"``, as `multiprocessing` explains.

    Yields:
        The outcomes, in the order of the items.

    Raises:
        CorpusError: if the task cannot be prepared, or workers die while they start.
    """
    with worker_pool(task, workers) as do:
        yield from do(items)


@contextlib.contextmanager
def worker_pool(task: Task, workers: int) -> Iterator[Callable[[Iterable[Item]], Iterator[Outcome]]]:
    """Start worker processes, for one list of items after another.

    Yields:
        A function from items to their outcomes, as `run_in_processes`. Take all outcomes before the next call.
    """
    pool = _Pool(task, workers)
    try:
        yield pool.outcomes
    finally:
        pool.close()


class _Pool:
    """The workers, the items that wait, and the outcomes that are not yielded yet."""

    def __init__(self, task: Task, workers: int) -> None:
        self.task = task
        self.items: Iterator[tuple[int, Item]] = iter(())
        self.retries: deque[tuple[int, Item]] = deque()
        self.deaths: dict[int, int] = {}  # from an item's index to the number of workers that died on it
        self.done: dict[int, Outcome] = {}
        self.next_index = 0  # of the outcome to yield next
        self.taken = 0  # items taken from `items`
        self.failed_starts = 0
        self.workers = [_Worker(task) for _ in range(workers)]

    def outcomes(self, items: Iterable[Item]) -> Iterator[Outcome]:
        self.items = enumerate(items, start=self.taken)
        self._hand_out()
        while any(worker.pending for worker in self.workers):
            ready = connection.wait([worker.pipe for worker in self.workers if worker.pending])
            for worker in [worker for worker in self.workers if worker.pipe in ready]:
                self._receive(worker)
            while self.next_index in self.done:
                outcome = self.done.pop(self.next_index)
                self.next_index += 1
                yield outcome
            self._hand_out()

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()  # nobody needs its current outcome
            worker.process.join()
            worker.pipe.close()

    def _hand_out(self) -> None:
        """Fill the workers' queues, the shortest queue first."""
        for depth in range(1, _QUEUED + 2):
            for worker in self.workers:
                if len(worker.pending) < depth and (entry := self._next_item()) is not None:
                    worker.send(entry)

    def _next_item(self) -> tuple[int, Item] | None:
        """Return an item to try again, else a new one; None at the end, or while the buffer of outcomes is full."""
        if self.retries:
            return self.retries.popleft()
        if self.taken - self.next_index >= _MAX_BUFFERED:
            return None
        entry = next(self.items, None)
        self.taken += entry is not None
        return entry

    def _receive(self, worker: _Worker) -> None:
        """Take one answer of a worker: an outcome, None if it is ready, or the error that ends the run."""
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            self._replace_dead_worker(worker)
            return
        if isinstance(answer, CorpusError):
            raise answer
        if answer is None:
            self.failed_starts = 0
            worker.is_ready = True
            return
        self.done[worker.pending.popleft()[0]] = answer

    def _replace_dead_worker(self, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        how = _how_it_ended(worker.process.exitcode)
        if worker.is_ready:
            index, item = worker.pending[0]
            self.deaths[index] = self.deaths.get(index, 0) + 1
            if self.deaths[index] >= _MAX_DEATHS:
                worker.pending.popleft()
                fault = Fault(
                    "worker",
                    f"the worker process died on this item, and so did a second one ({how}): if memory ran short, use "
                    f"fewer workers; else look at this item",
                )
                self.done[index] = Outcome(item.id, item.line, fault=fault)
        else:
            self.failed_starts += 1
            if self.failed_starts >= _MAX_FAILED_STARTS:
                raise CorpusError(f"workers die while they start ({how}): try workers=1 to see why")
        self.retries.extendleft(reversed(worker.pending))
        self.workers[self.workers.index(worker)] = _Worker(self.task)


class _Worker:
    """A process, and the items that it has not answered yet."""

    def __init__(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_run_worker, args=(theirs, task), daemon=True)
        self.process.start()
        theirs.close()
        self.pending: deque[tuple[int, Item]] = deque()
        self.is_ready = False

    def send(self, entry: tuple[int, Item]) -> None:
        self.pending.append(entry)
        with contextlib.suppress(OSError):  # it just died: receiving its answer will fail
            self.pipe.send(entry[1])


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"ended by signal {-code}, {name}"
    return f"exit code {code}"


def _run_worker(pipe: Connection[Any, Any], task: Task) -> None:
    """Answer items until the pipe is closed. Runs in the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and kills the workers
    torch.set_num_threads(1)
    try:
        task.prepare()
        pipe.send(None)
        # A thread reads the pipe all the time. Without it, parent and worker could both block while they send.
        inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        threading.Thread(target=_read_pipe, args=(pipe, inbox), daemon=True).start()
        while (item := inbox.get()) is not None:
            pipe.send(task(item))
    except CorpusError as error:
        pipe.send(error)
    except OSError:  # the parent is gone
        return


def _read_pipe(pipe: Connection[Any, Any], inbox: queue.SimpleQueue[Item | None]) -> None:
    try:
        while True:
            inbox.put(pipe.recv())
    except (EOFError, OSError):
        inbox.put(None)
