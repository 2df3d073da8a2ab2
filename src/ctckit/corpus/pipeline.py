"""From a manifest to result files: read items, skip those that are done, run the others, write each outcome."""

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
from ctckit.corpus.processes import run_in_processes, worker_pool
from ctckit.corpus.results import ResultsFile, result_line
from ctckit.corpus.tasks import Task

__all__ = ["Summary", "errors_file", "process", "run", "runner"]


def run(task: Task, items: Iterable[Item], *, workers: int = 1, ray: bool | str = False) -> Iterator[Outcome]:
    """Do a task with every item.

    Args:
        task: the task.
        items: the items.
        workers: 1: run in this process, with torch's threads. More: run in this number of processes, with one thread
            each. A process that dies is replaced. The item that it died on is tried once more, then has a fault.
        ray: True: run on Ray Data, on the current cluster or a local one; a str: on the cluster at this address. If
            `workers` is more than 1, it limits Ray's parallel tasks. The machines of the cluster must see all files
            at the same paths.

    Yields:
        One `Outcome` per item, in the order of the items, the same for any `workers` and `ray`.

    Raises:
        CorpusError: for an error that every item has, such as a vocabulary that cannot be read.

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


@contextlib.contextmanager
def runner(
    task: Task, *, workers: int = 1, ray: bool | str = False
) -> Iterator[Callable[[Iterable[Item]], Iterator[Outcome]]]:
    """Start what `run` runs on, for one list of items after another.

    Args:
        task: see `run`.
        workers: see `run`.
        ray: see `run`.

    Yields:
        A function from items to their outcomes. Take all outcomes before the next call.
    """
    if not ray and workers > 1:
        with worker_pool(task, workers) as do:
            yield do
        return
    with contextlib.ExitStack() as stack:
        if ray:
            from ctckit.corpus.ray_engine import connection  # noqa: PLC0415  # optional

            stack.enter_context(connection(ray if isinstance(ray, str) else None))
        yield lambda items: run(task, items, workers=workers, ray=ray)


@dataclass(slots=True)
class Summary:
    """The counts of a run."""

    done: int = 0
    """Items with a result."""
    redone: int = 0
    """Those of them that had a result of an earlier run, but whose inputs had changed."""
    skipped: int = 0
    """Items that had a valid result of an earlier run."""
    faults: Counter[str] = field(default_factory=Counter)
    """Bad items, by the kind of their `Fault`."""
    stale: int = 0
    """Bad items with a result of earlier inputs. This result is kept, marked ``"stale": true``."""
    absent: int = 0
    """Results of items that are not in the manifest. They are kept. 0 with a `limit`."""
    dropped: int = 0
    """Words, or parts of words, that were left out of the texts of the items done (``unknown="skip"``)."""
    warned: int = 0
    """Items done that look wrong, see `Outcome.warnings`."""
    frames: int = 0
    """Total frames of the items done."""
    seconds: float = 0.0
    """Duration of the run."""

    @property
    def failed(self) -> int:
        """Number of bad items."""
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
    """Do a task with the items of a manifest and write the outcomes to files. An earlier run is resumed.

    Each result is written as soon as it is computed, with a digest of the options and one of its inputs
    (`Task.inputs`). An item whose inputs have changed is done again, and its result is replaced. If the run is stopped,
    by a kill or a full disk, written results are kept, and the same call continues.

    Args:
        task: the task.
        manifest: path of the manifest, see `read_manifest`.
        output: file of JSON lines for results. Items with a result in it are skipped. None for no file. One run at a
            time writes to it.
        errors: file of JSON lines for bad items, rewritten by every run. None: beside `output`, with the suffix
            ``.errors.jsonl``; no file if `output` is None.
        folder: folder for the files of the task's formats. If a file exists that no run has written, it is kept, and
            the item has a fault of kind 'exists'.
        overwrite: whether to start `output` over, and to replace files of the task's formats in `folder`.
        wait: whether to wait while another run writes to `output`.
        limit: number of items to use, from the first; None for all.
        workers: see `run`.
        ray: see `run`.
        watch: functions to call with every outcome after it is written.
        skipped: function to call with every skipped item.

    Returns:
        A `Summary`.

    Raises:
        CorpusError: for an error that every item has, and for files: two outputs or inputs are the same file, a file
            exists that this program did not write, or one cannot be written.

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
            for outcome in run(task, job.remaining(read_manifest(manifest), limit), workers=workers, ray=ray):
                written = job.write(outcome)
                for watcher in watch:
                    watcher(written)
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
    """Return the file for bad items: `errors` if given, else a file beside the results, if these go to a file."""
    if errors is not None or output is None or not output.name:
        return errors
    return output.with_suffix(".errors.jsonl") if output.is_file() or not output.exists() else None


class _Run:
    """The state of a run."""

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
        self._said: set[str] = set()  # notes that have been said
        # Ids of results whose items the manifest has not named yet.
        self._absent = None if results is None else set(results.inputs)

    def remaining(self, items: Iterable[Item], limit: int | None) -> Iterator[Item]:
        """Yield the items that are not done yet."""
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

    def write(self, outcome: Outcome) -> Outcome:
        """Write an outcome. Return it, or a fault instead if it cannot be written."""
        if outcome.fault is None:
            try:
                line = result_line(outcome, self._digest)
                if self._folder is not None:
                    # Before the line, because an item with a line is skipped by the next run.
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
        for note in outcome.notes:
            if note not in self._said:
                self._said.add(note)
                warnings.warn(note, ItemWarning, stacklevel=4)
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
