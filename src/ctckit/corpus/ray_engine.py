"""One task on many items with Ray Data, on one machine or a cluster.

Ray's workers get the task as a function without state; each process loads the vocabulary and the model once. Ray
retries the block of a worker that died. A block that still fails is left out of the dataset. At the end, each missing
item is tried once more in its own block, and has a fault if it is still missing. So an item that kills its workers does
not affect its neighbours.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.manifest import Item
from ctckit.corpus.outcomes import Fault, Outcome
from ctckit.corpus.tasks import Task

__all__ = ["connection", "run_on_ray"]

_BLOCK = 16  # items per Ray task; Ray's overhead per task is about the time of ten small items
_PART = 16384  # items per dataset; this bounds the driver's memory
_RETRIES = 2  # of a block after its worker died


def run_on_ray(task: Task, items: Iterable[Item], *, workers: int = 1, address: str | None = None) -> Iterator[Outcome]:
    """Do a task with items on Ray Data.

    Args:
        task: the task.
        items: the items.
        workers: maximal number of parallel Ray tasks; 1 for as many as the cluster has processors.
        address: address of the cluster, as for ``ray.init``. None for the cluster that this process is connected to,
            or that ``RAY_ADDRESS`` names, or a new local one.

    Yields:
        The outcomes, in the order of the items.

    Raises:
        CorpusError: if Ray is not installed, the cluster is not found, or the task cannot be prepared.
    """
    with connection(address) as ray:
        part: list[Item] = []
        is_prepared = False
        for item in items:
            if not is_prepared:
                _prepare_once(ray, task)
                is_prepared = True
            part.append(item)
            if len(part) == _PART:
                yield from _run_part(ray, task, part, workers)
                part = []
        if part:
            yield from _run_part(ray, task, part, workers)


@contextlib.contextmanager
def connection(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, if this process is not connected yet, for as long as the block runs.

    Args:
        address: see `run_on_ray`.

    Yields:
        The module ``ray``.

    Raises:
        CorpusError: if Ray is not installed, or the cluster is not found.
    """
    try:
        import ray  # noqa: PLC0415  # optional
        import ray.data  # noqa: PLC0415  # needs packages beside ray
    except ImportError as error:
        raise CorpusError(f"Ray Data is not installed ({error}): pip install 'ctckit[ray]'") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = f"at {address!r}" if address else "here"
            raise CorpusError(
                f"no connection to a Ray cluster {where}: {error}; start the cluster, and if it asks for a token, set "
                f"RAY_AUTH_TOKEN"
            ) from error
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()


def _prepare_once(ray: Any, task: Task) -> None:
    """Let a worker load the vocabulary and the model, before there is a dataset.

    If a loop over a dataset is left by an error, Ray's threads go on for a while, and `ray.shutdown` may end this
    process in the midst of them, with exit code 1.
    """
    prepare = ray.remote(num_cpus=1, max_retries=_RETRIES)(_prepare)
    try:
        error = ray.get(prepare.remote(*_packed(task)))
    except ray.exceptions.RayError:
        return  # the worker died: the items will tell
    if error is not None:
        raise pickle.loads(error)  # noqa: S301  # our own


def _run_part(ray: Any, task: Task, items: list[Item], workers: int) -> Iterator[Outcome]:
    waiting: dict[int, Outcome] = {}
    next_index = 0
    for index, outcome in _stream(ray, task, list(enumerate(items)), _BLOCK, workers):
        waiting[index] = outcome
        while next_index in waiting:
            yield waiting.pop(next_index)
            next_index += 1
    missing = [(index, item) for index, item in enumerate(items) if index >= next_index and index not in waiting]
    if missing:
        waiting.update(_stream(ray, task, missing, 1, workers))
    for index in range(next_index, len(items)):
        yield waiting.pop(index) if index in waiting else _worker_fault(items[index])


def _stream(
    ray: Any, task: Task, entries: list[tuple[int, Item]], block: int, workers: int
) -> Iterator[tuple[int, Outcome]]:
    context = ray.data.DataContext.get_current()
    before = context.execution_options.preserve_order, context.max_errored_blocks, context.enable_progress_bars
    context.execution_options.preserve_order = True
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    try:
        blocks = -(-len(entries) // block)
        rows = [{"entry": pickle.dumps(entry)} for entry in entries]
        dataset = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            _do_batch,
            fn_args=_packed(task),
            batch_size=None,
            num_cpus=1,
            max_retries=_RETRIES,
            **({"concurrency": workers} if workers > 1 else {}),
        )
        for row in dataset.iter_rows():
            index, outcome = pickle.loads(row["outcome"])  # noqa: S301  # our own
            if isinstance(outcome, CorpusError):
                raise outcome
            yield index, outcome
    finally:
        context.execution_options.preserve_order, context.max_errored_blocks, context.enable_progress_bars = before


def _packed(task: Task) -> tuple[bytes, str]:
    """Return what a worker needs to unpack a task: the task, and this folder. Workers run in other folders."""
    return pickle.dumps(task.at_absolute_paths()), str(Path.cwd())


def _unpacked(pickled: bytes, folder: str) -> Task:
    import torch  # noqa: PLC0415  # runs in a Ray process

    torch.set_num_threads(1)
    if folder not in sys.path:  # the user's model may be there
        sys.path.insert(0, folder)
    task: Task = pickle.loads(pickled)  # noqa: S301  # our own
    return task


def _prepare(pickled: bytes, folder: str) -> bytes | None:
    try:
        _unpacked(pickled, folder).prepare()
    except CorpusError as error:
        return pickle.dumps(error)
    return None


def _do_batch(batch: dict[str, Any], pickled: bytes, folder: str) -> dict[str, list[bytes]]:
    task = _unpacked(pickled, folder)
    answers = []
    for entry in batch["entry"]:
        index, item = pickle.loads(entry)  # noqa: S301  # our own
        try:
            outcome: Outcome | CorpusError = task(item)
        except CorpusError as error:
            outcome = error
        answers.append(pickle.dumps((index, outcome)))
    return {"outcome": answers}


def _worker_fault(item: Item) -> Outcome:
    fault = Fault("worker", "every Ray worker that took it died: look at this item, or at the memory of the workers")
    return Outcome(item.id, item.line, fault=fault)
