"""From a manifest to files: read, skip what is done, do the rest wherever it is to be done, write as it comes."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ctckit.corpus.clashes import refuse_clashes
from ctckit.corpus.errors import CorpusError, ItemError, ItemWarning
from ctckit.corpus.faults_file import FaultsFile
from ctckit.corpus.item_files import FileNames, write_files
from ctckit.corpus.manifest import Item, read_manifest
from ctckit.corpus.outcomes import Fault, Outcome
from ctckit.corpus.processes import run_in_processes
from ctckit.corpus.results import ResultsFile, result_line
from ctckit.corpus.tasks import Task

__all__ = ["Summary", "errors_file", "process", "run"]


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
    redone: int = 0
    """How many of these had one from an earlier run that no longer belonged to their inputs."""
    skipped: int = 0
    """Items that had one from an earlier run."""
    faults: Counter[str] = field(default_factory=Counter)
    """Items without one, by the kind of their `Fault`."""
    stale: int = 0
    """Items of these whose result of an earlier run is kept, marked ``"stale": true``, though it does not belong to
    their inputs as they are now."""
    absent: int = 0
    """Results of items that are not in the manifest (any more). They are kept. 0 with a `limit`."""
    dropped: int = 0
    """Words, or parts of them, that were left out of texts (``unknown="skip"``), in the items done."""
    warned: int = 0
    """Items done that look wrong: see `Outcome.warnings`."""
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
    wait: bool = False,
    limit: int | None = None,
    workers: int = 1,
    ray: bool | str = False,
    watch: Sequence[Callable[[Outcome], None]] = (),
    skipped: Callable[[Item], None] | None = None,
) -> Summary:
    """Do a task with a manifest's items and write what comes of it, going on where an earlier run was stopped.

    Each result is written as soon as it is there, with a digest of the options and one of its inputs (`Task.inputs`).
    An item whose inputs have changed since is done again, and its result replaced. Whatever stops the run, a kill or a
    full disk, results that were written stay, and the same call goes on from there.

    Args:
        task: what to do.
        manifest: see `read_manifest`.
        output: file of JSON lines for results; items that it holds are skipped. None for none. One run at a time
            writes to it.
        errors: file of JSON lines for faults, made anew by every run; None: beside `output`, named as it with
            ``.errors.jsonl``; none without.
        folder: where to put the files that the task makes. A file that is there and holds something else is no more
            replaced than any other: the item has a fault, of kind 'exists'.
        overwrite: whether to start `output` anew, and replace files of the task's formats in `folder`.
        wait: whether to wait while another run writes to `output`.
        limit: how many of the manifest's items to look at; None for all.
        workers: see `run`.
        ray: see `run`.
        watch: called with every outcome, after it was written.
        skipped: called with every item that is skipped.

    Returns:
        A `Summary`.

    Raises:
        CorpusError: for what is wrong with every item, or with the files: two that are one, one that is there and not
            of this program, one that cannot be written.

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
    manifest = Path(manifest)
    target = None if output is None else Path(output)
    listed = errors_file(target, None if errors is None else Path(errors))
    into = None if folder is None else Path(folder)
    refuse_clashes(task, manifest, {"the results": target, "the errors": listed}, into)
    with contextlib.ExitStack() as stack:
        faults = None if listed is None else stack.enter_context(contextlib.closing(FaultsFile(listed)))
        results = None
        if target is not None:
            results = ResultsFile(target, task.digest(), overwrite=overwrite, wait=wait)
            stack.callback(results.close)
        if into is not None:
            _make_folder(into)
        job = _Run(task, results, faults, into, overwrite=overwrite, skipped=skipped)
        try:
            for outcome in run(task, job.left(read_manifest(manifest), limit), workers=workers, ray=ray):
                kept = job.keep(outcome)
                for watcher in watch:
                    watcher(kept)
        except BaseException:
            with contextlib.suppress(CorpusError):
                job.finish(complete=False)
            raise
        job.finish(complete=True)
    job.summary.seconds = time.perf_counter() - start
    return job.summary


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "it is a file" if folder.is_file() else error.strerror
        raise CorpusError(f"no files can be written to the folder {str(folder)!r}: {what}") from error


def errors_file(output: Path | None, errors: Path | None) -> Path | None:
    """Return where faults are listed: as the caller says, else beside the results, if these are a file."""
    if errors is not None or output is None or not output.name:
        return errors
    return output.with_suffix(".errors.jsonl") if output.is_file() or not output.exists() else None


class _Run:
    """What is kept of a run while it lasts."""

    def __init__(
        self, task: Task, results: ResultsFile | None, faults: FaultsFile | None, folder: Path | None, *,
        overwrite: bool, skipped: Callable[[Item], None] | None,
    ) -> None:  # fmt: skip
        self.summary = Summary()
        self._task, self._results, self._faults, self._folder = task, results, faults, folder
        self._digest = task.digest()
        self._overwrite, self._skipped = overwrite, skipped
        self._names = FileNames()
        self._stale: set[str] = set()
        self._absent = None if results is None else set(results.inputs)  # until they are met

    def left(self, items: Iterable[Item], limit: int | None) -> Iterator[Item]:
        """Yield the items that are to be done."""
        for number, item in enumerate(items):
            if limit is not None and number >= limit:
                return
            if item.fault is None:
                if self._folder is not None:
                    self._names.reserve(item.id)
                if self._absent is not None:
                    self._absent.discard(item.id)
                if self._is_done(item):
                    self.summary.skipped += 1
                    if self._skipped is not None:
                        self._skipped(item)
                    continue
            yield item
        if self._absent is not None:
            self.summary.absent = len(self._absent)

    def _is_done(self, item: Item) -> bool:
        results = self._results
        if results is None or item.id not in results.inputs:
            return False
        if results.has(item.id, self._task.inputs(item)):
            return True
        self._stale.add(item.id)
        return False

    def keep(self, outcome: Outcome) -> Outcome:
        """Write what came of an item; return it, or the fault that it became because it could not be written."""
        if outcome.fault is None:
            try:
                line = result_line(outcome, self._digest)
                if self._folder is not None:
                    # Before the line: an item whose line is there is not looked at again.
                    ours = self._results.files.get(outcome.id, ()) if self._results is not None else ()
                    write_files(self._names.of(outcome), self._folder, overwrite=self._overwrite, ours=ours)
            except ItemError as error:
                outcome = _fault(outcome, error.kind, str(error))
            except (ValueError, TypeError) as error:
                outcome = _fault(outcome, "failed", f"its result cannot be written as JSON: {error}")
            else:
                self._count(outcome)
                if self._results is not None:
                    self._results.write(outcome, line)
                return outcome
        if outcome.fault is not None:
            self.summary.faults[outcome.fault.kind] += 1
            if outcome.id in self._stale and self._results is not None:
                self._results.stale.add(outcome.id)
                outcome = _fault(
                    outcome, outcome.fault.kind, f"{outcome.fault.message} (the result of its earlier inputs is kept)"
                )
        if self._faults is not None:
            self._faults.write(outcome)
        return outcome

    def _count(self, outcome: Outcome) -> None:
        summary, result = self.summary, outcome.result or {}
        if outcome.warnings and not summary.warned:
            warnings.warn(f"{outcome.id}: {outcome.warnings[0]}", ItemWarning, stacklevel=4)
        summary.done += 1
        summary.redone += outcome.id in self._stale
        summary.warned += bool(outcome.warnings)
        summary.dropped += len(result.get("dropped", ()))
        summary.frames += int(result.get("frames", 0))
        self._stale.discard(outcome.id)

    def finish(self, *, complete: bool) -> None:
        self.summary.stale = len(self._stale)
        try:
            if self._faults is not None:
                self._faults.finish()
        finally:
            if self._results is not None:
                self._results.finish(complete=complete)


def _fault(outcome: Outcome, kind: str, message: str) -> Outcome:
    return dataclasses.replace(outcome, result=None, files=(), fault=Fault(kind, message))
