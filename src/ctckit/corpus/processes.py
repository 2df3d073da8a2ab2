"""One task on many items in worker processes: in order, with a death noticed and nothing lost.

Each worker has a pipe. It is given a few items at a time, does them in that order, and answers each by itself; so when
it dies, the first item that it has not answered is the one that it died over, and the others go to other workers. The
item gets a second chance, since a process may be killed for no fault of its item; then it is reported.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

import torch

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.manifest import Item
from ctckit.corpus.outcomes import Fault, Outcome
from ctckit.corpus.tasks import Task

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["run_in_processes"]

_WAITING = 4  # items that a worker has beside the one it is at, so that it never waits for the next
_AHEAD = 512  # outcomes kept, at most, while an earlier one is not there yet
_CHANCES = 2  # workers that one item may take with it
_FALSE_STARTS = 3  # workers in a row that may die before they are ready


def run_in_processes(task: Task, items: Iterable[Item], workers: int) -> Iterator[Outcome]:
    """Do a task with items in worker processes, each with one thread.

    Args:
        task: what to do.
        items: what to do it with; read as far as there is work for, never all at once.
        workers: how many processes; they are started with "spawn", so a program that calls this needs
            ``if __name__ == "__main__"``, as `multiprocessing` explains.

    Yields:
        The outcomes, in the order of the items.

    Raises:
        CorpusError: if the task cannot be prepared, or workers die while they start.
    """
    pool = _Pool(task, items, workers)
    try:
        yield from pool.outcomes()
    finally:
        pool.close()


class _Pool:
    """Workers, and which item each has."""

    def __init__(self, task: Task, items: Iterable[Item], workers: int) -> None:
        self.task = task
        self.items = enumerate(items)
        self.again: deque[tuple[int, Item]] = deque()
        self.deaths: dict[int, int] = {}
        self.done: dict[int, Outcome] = {}
        self.next = 0  # index of the outcome to yield next
        self.drawn = 0  # how many items were taken from `items`
        self.false_starts = 0
        self.workers = [_Worker(task) for _ in range(workers)]

    def outcomes(self) -> Iterator[Outcome]:
        self._deal()
        while any(worker.has for worker in self.workers):
            ready = connection.wait([worker.pipe for worker in self.workers if worker.has])
            for worker in [worker for worker in self.workers if worker.pipe in ready]:
                self._hear(worker)
            while self.next in self.done:
                outcome = self.done.pop(self.next)
                self.next += 1
                yield outcome
            self._deal()

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()  # what it is at is of no use any more
            worker.process.join()
            worker.pipe.close()

    def _deal(self) -> None:
        """Give every worker something to do, the least busy first."""
        for depth in range(1, _WAITING + 2):
            for worker in self.workers:
                if len(worker.has) < depth and (entry := self._draw()) is not None:
                    worker.give(entry)

    def _draw(self) -> tuple[int, Item] | None:
        if self.again:
            return self.again.popleft()
        if self.drawn - self.next >= _AHEAD:
            return None
        entry = next(self.items, None)
        self.drawn += entry is not None
        return entry

    def _hear(self, worker: _Worker) -> None:
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if isinstance(answer, CorpusError):
            raise answer
        if answer is None:
            self.false_starts = 0
            worker.is_ready = True
            return
        self.done[worker.has.popleft()[0]] = answer

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        how = _how_it_ended(worker.process.exitcode)
        if worker.is_ready:
            index, item = worker.has[0]
            self.deaths[index] = self.deaths.get(index, 0) + 1
            if self.deaths[index] >= _CHANCES:
                worker.has.popleft()
                fault = Fault(
                    "worker",
                    f"the process at work on it died, and so did the one that tried again ({how}): if memory ran "
                    f"short, use fewer workers; else look at what is special about this item",
                )
                self.done[index] = Outcome(item.id, item.line, fault=fault)
        else:
            self.false_starts += 1
            if self.false_starts >= _FALSE_STARTS:
                raise CorpusError(f"workers die while they start ({how}): try workers=1 to see why")
        self.again.extendleft(reversed(worker.has))
        self.workers[self.workers.index(worker)] = _Worker(self.task)


class _Worker:
    """A process, and what it was given and has not answered."""

    def __init__(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, task), daemon=True)
        self.process.start()
        theirs.close()
        self.has: deque[tuple[int, Item]] = deque()
        self.is_ready = False

    def give(self, entry: tuple[int, Item]) -> None:
        self.has.append(entry)
        with contextlib.suppress(OSError):  # it just died: the wait for its answer will tell
            self.pipe.send(entry[1])


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"ended by signal {-code}, {name}"
    return f"exit code {code}"


def _work(pipe: Connection[Any, Any], task: Task) -> None:
    """Run in the worker: answer items until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us
    torch.set_num_threads(1)
    try:
        task.prepare()
        pipe.send(None)
        # A thread takes items off the pipe at any time: else parent and worker could both wait to be read.
        inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        threading.Thread(target=_fetch, args=(pipe, inbox), daemon=True).start()
        while (item := inbox.get()) is not None:
            pipe.send(task(item))
    except CorpusError as error:
        pipe.send(error)
    except OSError:  # the parent is gone
        return


def _fetch(pipe: Connection[Any, Any], inbox: queue.SimpleQueue[Item | None]) -> None:
    try:
        while True:
            inbox.put(pipe.recv())
    except (EOFError, OSError):
        inbox.put(None)
