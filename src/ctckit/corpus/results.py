"""Results on the disk, such that a run that was stopped at any moment can be gone on with.

A results file holds one line of JSON per item: its id, a digest of the options, a digest of its inputs, and the result.

- A new result is appended as a whole line. What a kill may leave is a torn last line; it is cut off by the next run. A
  line that a full disk cut short is cut off at once.
- A result that replaces an older one goes to a second file, ``.NAME.redone``. At the end of a run, or at the beginning
  of the next one if this one was killed, both are put together in a new file, which then takes the old one's place. So
  the results file never has an item twice.
- One run at a time: each holds the lock ``.NAME.lock``, which the system gives back whatever ends the run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import filelock

from ctckit.corpus.digests import belongs
from ctckit.corpus.errors import CorpusError
from ctckit.corpus.item_files import digests_of
from ctckit.corpus.outcomes import Outcome
from ctckit.files import real_path, whole_file

__all__ = ["ResultsFile", "lock_file", "read_results", "redone_file", "result_line"]

_BEGINNING = re.compile(rb'\{"id": "(?:[^"\\]|\\.)*"')
_TORN_ID = re.compile(rb'\{"id": "(?:[^"\\]|\\.)*\\?')
_NEXT = b', "options": "'


def result_line(outcome: Outcome, digest: str, *, ascii_only: bool = False) -> str:
    """Write a result as one line of JSON.

    Args:
        outcome: the result.
        digest: of the options, from `Task.digest`.
        ascii_only: whether to escape all other characters.

    Raises:
        ValueError: for NaN and infinities, which JSON does not have.
        TypeError: for what JSON has no form for.
    """
    entry: dict[str, Any] = {"id": outcome.id, "options": digest, "inputs": outcome.inputs}
    if outcome.files:
        entry["files"] = digests_of(outcome)
    entry |= outcome.result or {}
    return json.dumps(entry, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def lock_file(path: Path) -> Path:
    """Return the path of the lock of a results file."""
    return path.with_name(f".{path.name}.lock")


def redone_file(path: Path) -> Path:
    """Return the path of the results that are to replace those of a results file."""
    return path.with_name(f".{path.name}.redone")


def read_results(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the results of a results file as they are, but for those that no longer belong to their item."""
    with path.open("rb") as lines:
        for line in lines:
            entry = json.loads(line)
            if not entry.get("stale"):
                yield entry


class _Entry(NamedTuple):
    """A line of a results file."""

    id: str
    options: str
    inputs: str
    stale: bool
    files: tuple[str, ...]


class ResultsFile:
    """The results of a run and of those before it; see the module.

    Args:
        path: file to go on with, or to make.
        digest: that of the options now.
        overwrite: whether to start anew. What the file holds is kept until the first result is there.
        wait: whether to wait while another run writes to it.

    Raises:
        CorpusError: if it cannot be written, is no such file, was made with other options, or holds an item twice; and
            if another run writes to it, unless `wait`.
    """

    def __init__(self, path: str | Path, digest: str, *, overwrite: bool = False, wait: bool = False) -> None:
        self.name = str(path)
        self.path = real_path(path)
        self.digest = digest
        self.inputs: dict[str, str] = {}
        """The digest of the inputs of every item that is in it."""
        self.files: dict[str, tuple[str, ...]] = {}
        """Digests of the files that were written for an item, if any were."""
        self.stale: set[str] = set()
        """Items of which it has a result that does not belong to their inputs as they are now, with which they cannot
        be done."""
        self._was_stale: set[str] = set()
        self._starts_anew = overwrite
        self._redone: _Lines | None = None
        self._places: dict[str, tuple[int, int]] = {}  # of the lines in the second file: offset, length
        self._lock = filelock.FileLock(lock_file(self.path))
        with self._said():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            regular = self.path.is_file() or not self.path.exists()
            if regular:
                self._check_whose(self.path, lines=1)  # before a lock is put beside a file of the user
                self._acquire(wait=wait)
            try:
                if regular:
                    self._read()
                self._lines = _Lines(self.path)
            except BaseException:
                self._lock.release()
                raise

    def _acquire(self, *, wait: bool) -> None:
        try:
            self._lock.acquire(timeout=-1 if wait else 0)
        except filelock.Timeout:
            raise CorpusError(
                f"another run writes to {self.name!r}: wait for it to end (--wait), or name another output"
            ) from None

    # -------------------------------------------------------------------------------------------------------- reading

    def _read(self) -> None:
        """Read both files, check that they are ours, and put them in order."""
        redone = redone_file(self.path)
        if self._starts_anew:
            for path in (self.path, redone):
                self._check_whose(path)
            return
        numbers: dict[str, int] = {}
        end = 0
        for number, start, line in self._entries(self.path):
            entry = self._entry(self.path, number, line)
            if entry.id in numbers:
                raise CorpusError(
                    f"{self.name!r} has the item {entry.id!r} twice, in lines {numbers[entry.id]} and {number}: remove "
                    f"one of them, or start anew with --overwrite"
                )
            numbers[entry.id] = number
            self._remember(entry)
            if entry.stale:
                self._was_stale.add(entry.id)
            end = start + len(line)
        if self.path.exists() and end < self.path.stat().st_size:
            os.truncate(self.path, end)
        self.stale = set(self._was_stale)
        if redone.exists() and not self.path.exists():
            self._check_whose(redone)
            redone.unlink()  # of results that were deleted
        elif redone.exists():
            for number, start, line in self._entries(redone):
                entry = self._entry(redone, number, line)
                self._remember(entry)
                self.stale.discard(entry.id)
                self._places[entry.id] = (start, len(line))
            self._put_together()

    def _remember(self, entry: _Entry) -> None:
        self.inputs[entry.id] = entry.inputs
        if entry.files:
            self.files[entry.id] = entry.files

    def _check_whose(self, path: Path, lines: int | None = None) -> None:
        for number, _, line in itertools.islice(self._entries(path), lines):
            if _parsed(line) is None:
                raise self._foreign(path, number)

    def _entries(self, path: Path) -> Iterator[tuple[int, int, bytes]]:
        """Yield number, place and content of the whole lines, the torn last one aside."""
        if not path.exists():
            return
        at = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    if not _may_be_torn(line):
                        raise self._foreign(path, number)
                    return
                yield number, at, line
                at += len(line)

    def _name_of(self, path: Path) -> str:
        return self.name if path == self.path else str(path)

    def _foreign(self, path: Path, number: int) -> CorpusError:
        return CorpusError(
            f"{self._name_of(path)!r} exists, and its line {number} is no result of this command, so it is left alone: "
            f"name another output, or delete it"
        )

    def _entry(self, path: Path, number: int, line: bytes) -> _Entry:
        entry = _parsed(line)
        if entry is None:
            raise self._foreign(path, number)
        if entry.options != self.digest:
            raise CorpusError(
                f"{self._name_of(path)!r} holds results made with other options, or another vocabulary "
                f"(line {number}): go on with the same, name another output, or start anew with --overwrite"
            )
        return entry

    # -------------------------------------------------------------------------------------------------------- writing

    def has(self, name: str, inputs: str) -> bool:
        """Return whether it has an item's result, made from these inputs."""
        then = self.inputs.get(name)
        if then is None or not belongs(then, inputs):
            return False
        self.stale.discard(name)
        return True

    def write(self, outcome: Outcome, line: str) -> None:
        """Add a result, or replace the item's older one.

        Raises:
            CorpusError: if it cannot be written. Results that are there stay.
        """
        data = line.encode("utf-8", "backslashreplace")  # as JSON writes half a surrogate pair
        with self._said():
            self._start_anew()
            if outcome.id in self.inputs:
                if self._redone is None:
                    self._redone = _Lines(redone_file(self.path))
                self._places[outcome.id] = (self._redone.append(data), len(data))
            else:
                self._lines.append(data)
            self.inputs[outcome.id] = outcome.inputs
            self.stale.discard(outcome.id)

    def finish(self, *, complete: bool = True) -> None:
        """Put what was done again in the place of what was there.

        Args:
            complete: whether the run came to its end. If not, and nothing was written yet, what was to be started anew
                is kept.

        Raises:
            CorpusError: if it cannot be written; then it is done by the next run.
        """
        with self._said():
            if complete:
                self._start_anew()
            if self._redone is not None:
                self._redone.close()
            if self._places or self.stale != self._was_stale:
                self._lines.close()
                self._put_together()

    def close(self) -> None:
        """Close the file, and let others write to it."""
        if self._redone is not None:
            self._redone.close()
        self._lines.close()
        self._lock.release()

    def _start_anew(self) -> None:
        if self._starts_anew:
            self._starts_anew = False
            redone_file(self.path).unlink(missing_ok=True)
            self._lines.clear()

    def _put_together(self) -> None:
        redone = redone_file(self.path)
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(whole_file(self.path))
            source = stack.enter_context(self.path.open("rb"))
            replacing = stack.enter_context(redone.open("rb")) if self._places else None
            left = dict(self._places)
            for number, line in enumerate(source, 1):
                entry = self._entry(self.path, number, line)
                stale = entry.id in self.stale
                if entry.id in left:
                    target.write(_piece(replacing, left.pop(entry.id)))
                else:
                    target.write(line if entry.stale == stale else _marked(line, stale=stale))
            for place in left.values():  # of lines that were deleted since
                target.write(_piece(replacing, place))
        redone.unlink(missing_ok=True)
        self._places.clear()
        self._was_stale = set(self.stale)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CorpusError(
                f"the results cannot be written to {self.name!r}: {error.strerror or error}; those that are there stay"
            ) from error


class _Lines:
    """A file that whole lines are appended to."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._whole = path.is_file()  # and no pipe
        self._end = path.stat().st_size

    def append(self, data: bytes) -> int:
        """Append a line, and return where it begins. If it cannot be written as a whole, it is not there."""
        start, rest = self._end, memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except BaseException:
            if self._whole:
                with contextlib.suppress(OSError):
                    self._file.truncate(start)
            raise
        self._end = start + len(data)
        return start

    def clear(self) -> None:
        if self._whole:
            self._file.truncate(0)
            self._end = 0

    def close(self) -> None:
        self._file.close()


def _parsed(line: bytes) -> _Entry | None:
    """Return what a line is about; None if it is no result of ours."""
    try:
        entry = json.loads(line)
        name, options, inputs = entry["id"], entry["options"], entry.get("inputs", "")
        stale, files = entry.get("stale", False), entry.get("files", ())
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (isinstance(name, str) and isinstance(options, str) and re.fullmatch("[0-9a-f]{12}", options)):
        return None
    return _Entry(name, options, str(inputs), stale is True, tuple(map(str, files)) if isinstance(files, list) else ())


def _may_be_torn(line: bytes) -> bool:
    """Return whether a last line without its end can be the beginning of a result, and of nothing else."""
    begun = _BEGINNING.match(line)
    if begun is None:
        start = b'{"id": "'
        return start.startswith(line) or _TORN_ID.fullmatch(line) is not None
    rest = line[begun.end() :]
    return _NEXT.startswith(rest) or rest.startswith(_NEXT)


def _marked(line: bytes, *, stale: bool) -> bytes:
    entry = json.loads(line)
    entry.pop("stale", None)
    if stale:
        entry = {key: entry.pop(key) for key in ("id", "options", "inputs") if key in entry} | {"stale": True} | entry
    return (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _piece(file: Any, place: tuple[int, int]) -> bytes:
    file.seek(place[0])
    return bytes(file.read(place[1]))
