"""One task on many items with Ray Data, on one machine or a cluster.

The task goes to Ray's workers as a function without state; what it needs each of their processes loads once. Ray tries
the items of a worker that died again elsewhere. A block that still fails is left out of the dataset rather than ending
it; items that are missing at the end are done once more, each alone, and reported if they are still missing: so one
item that kills its workers does not take its neighbours with it.
"""

from __future__ import annotations

import dataclasses
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

__all__ = ["run_on_ray"]

_BLOCK = 16  # items per task of Ray's: its own cost per task is about that of ten small items
_PART = 16384  # items per dataset, which bounds the driver's memory
_RETRIES = 2  # of a block whose worker died


def run_on_ray(task: Task, items: Iterable[Item], *, workers: int = 1, address: str | None = None) -> Iterator[Outcome]:
    """Do a task with items on Ray Data.

    Args:
        task: what to do.
        items: what to do it with.
        workers: how many of Ray's tasks at once, at most, if more than 1; else as many as the cluster has processors.
        address: the cluster's, as for ``ray.init``; None for the one that this process is connected to, or that
            ``RAY_ADDRESS`` names, or a new local one.

    Yields:
        The outcomes, in the order of the items.

    Raises:
        CorpusError: if Ray is not installed, has no such cluster, or the task cannot be prepared.
    """
    try:
        import ray  # noqa: PLC0415  # optional
        import ray.data  # noqa: PLC0415  # needs more than ray alone
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
                f"no connection to a Ray cluster {where}: {error}; it must be running, and where it asks for a token, "
                f"RAY_AUTH_TOKEN must hold it"
            ) from error
    try:
        part: list[Item] = []
        for item in items:
            part.append(item)
            if len(part) == _PART:
                yield from _run_part(ray, task, part, workers)
                part = []
        if part:
            yield from _run_part(ray, task, part, workers)
    finally:
        if started:
            ray.shutdown()


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
        yield waiting.pop(index) if index in waiting else _lost(items[index])


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
            fn_args=(pickle.dumps(_anywhere(task)), str(Path.cwd())),
            batch_size=None,
            num_cpus=1,
            ray_remote_args_fn=_remote_options,
            **({"concurrency": workers} if workers > 1 else {}),
        )
        for row in dataset.iter_rows():
            index, outcome = pickle.loads(row["outcome"])  # noqa: S301  # our own
            if isinstance(outcome, CorpusError):
                raise outcome
            yield index, outcome
    finally:
        context.execution_options.preserve_order, context.max_errored_blocks, context.enable_progress_bars = before


def _remote_options() -> dict[str, Any]:
    return {"max_retries": _RETRIES}


def _anywhere(task: Task) -> Task:
    """Name the vocabulary's file such that it can be found from any folder."""
    if task.vocabulary is None or not Path(task.vocabulary).exists():
        return task
    return dataclasses.replace(task, vocabulary=str(Path(task.vocabulary).absolute()))


def _do_batch(batch: dict[str, Any], pickled: bytes, folder: str) -> dict[str, list[bytes]]:
    import torch  # noqa: PLC0415  # runs in a process of Ray's

    torch.set_num_threads(1)
    if folder not in sys.path:  # where the user's model may be
        sys.path.insert(0, folder)
    task: Task = pickle.loads(pickled)  # noqa: S301  # our own
    answers = []
    for entry in batch["entry"]:
        index, item = pickle.loads(entry)  # noqa: S301  # our own
        try:
            outcome: Outcome | CorpusError = task(item)
        except CorpusError as error:
            outcome = error
        answers.append(pickle.dumps((index, outcome)))
    return {"outcome": answers}


def _lost(item: Item) -> Outcome:
    fault = Fault(
        "worker", "every worker of Ray's that took it died: look at what is special about this item, or at memory"
    )
    return Outcome(item.id, item.line, fault=fault)
