"""From a manifest to files: read, skip what is done, do the rest wherever it is to be done, write as it comes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.manifest import Item, read_manifest
from ctckit.corpus.processes import run_in_processes
from ctckit.corpus.results import FaultsFile, opened, write_files
from ctckit.corpus.tasks import Outcome, Task

__all__ = ["Summary", "process", "run"]


def run(task: Task, items: Iterable[Item], *, workers: int = 1, ray: bool | str = False) -> Iterator[Outcome]:
    """Do a task with every item.

    Args:
        task: what to do.
        items: what to do it with.
        workers: 1: in this process, with torch's threads; more: in so many processes of one thread each. A process that
            dies is replaced, and the item that it died over tried once more, then reported.
        ray: True: on Ray Data, on the cluster that is at hand, or a local one, with at most `workers` tasks at once if
            that is more than 1; a str: at the cluster of this address. Files must be where the cluster's machines
            see them.

    Yields:
        One `Outcome` per item, in the order of the items, the same for any `workers` and `ray`.

    Raises:
        CorpusError: for what is wrong with every item.

    Example:
        >>> from ctckit.corpus import LossTask
        >>> item = Item("a", 1, emissions="nowhere.npy", tokens=(1, 2))
        >>> for outcome in run(LossTask(), [item]):
        ...     print(outcome.fault.kind)
        missing
    """
    if workers < 1:
        raise CorpusError(f"workers is {workers}, but must be at least 1")
    if ray:
        from ctckit.corpus.ray_engine import run_on_ray  # noqa: PLC0415  # optional

        yield from run_on_ray(task, items, workers=workers, address=ray if isinstance(ray, str) else None)
    elif workers == 1:
        task.prepare()
        yield from map(task, items)
    else:
        yield from run_in_processes(task, items, workers)


@dataclass(slots=True)
class Summary:
    """What came of a run."""

    done: int = 0
    """Items with a result."""
    skipped: int = 0
    """Items that had one from an earlier run."""
    faults: Counter[str] = field(default_factory=Counter)
    """Items without one, by the kind of their `Fault`."""
    frames: int = 0
    """Frames of the items done."""
    seconds: float = 0.0
    """How long it took."""

    @property
    def failed(self) -> int:
        """Items without a result."""
        return sum(self.faults.values())


def process(
    task: Task,
    manifest: str | Path,
    output: str | Path | None = None,
    *,
    errors: str | Path | None = None,
    folder: str | Path | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    workers: int = 1,
    ray: bool | str = False,
    watch: Sequence[Callable[[Outcome], None]] = (),
    skipped: Callable[[Item], None] | None = None,
) -> Summary:
    """Do a task with a manifest's items and write what comes of it, going on where an earlier run was stopped.

    Args:
        task: what to do.
        manifest: see `read_manifest`.
        output: file of JSON lines for results; items that it holds are skipped, a last line that a kill has torn is
            cut off. None for none.
        errors: file of JSON lines for faults; None: beside `output`, named as it with ``.errors.jsonl``; none without.
        folder: where to put the files that the task makes.
        overwrite: whether to start `output` anew.
        limit: how many of the manifest's items to look at; None for all.
        workers: see `run`.
        ray: see `run`.
        watch: called with every outcome, after it was written.
        skipped: called with every item that is skipped.

    Returns:
        A `Summary`.

    Raises:
        CorpusError: for what is wrong with every item, or with the files.

    Example:
        >>> import json, pathlib, tempfile
        >>> from ctckit.corpus import LossTask
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> line = {"id": "a", "emissions": "nowhere.npy", "tokens": [1]}
        >>> _ = (folder / "items.jsonl").write_text(json.dumps(line))
        >>> process(LossTask(), folder / "items.jsonl", folder / "losses.jsonl").failed
        1
        >>> json.loads((folder / "losses.errors.jsonl").read_text())["kind"]
        'missing'
    """
    start = time.perf_counter()
    summary = Summary()
    if errors is None and output is not None:
        errors = Path(output).with_suffix(".errors.jsonl")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    items = read_manifest(manifest)
    with opened(output, task.digest(), overwrite=overwrite) as (done, write):
        faults = FaultsFile(errors) if errors is not None else None

        def left() -> Iterator[Item]:
            for number, item in enumerate(items):
                if limit is not None and number >= limit:
                    return
                if item.fault is None and item.id in done:
                    summary.skipped += 1
                    if skipped is not None:
                        skipped(item)
                else:
                    yield item

        for outcome in run(task, left(), workers=workers, ray=ray):
            if outcome.fault is not None:
                summary.faults[outcome.fault.kind] += 1
                if faults is not None:
                    faults.write(outcome)
            else:
                if folder is not None:
                    write_files(outcome, Path(folder))
                write(outcome)
                summary.done += 1
                summary.frames += int((outcome.result or {}).get("frames", 0))
            for watcher in watch:
                watcher(outcome)
    summary.seconds = time.perf_counter() - start
    return summary
