"""The results file: a run that was stopped at any moment can be resumed from it.

It holds one line of JSON per item: its id, a digest of the options, a digest of its inputs, and the result.

- A new result is appended as a whole line. A kill may leave a truncated last line, which the next run removes. A line
  that a full disk truncated is removed at once.
- A result that replaces an older one goes to a second file, ``.NAME.redone``. At the end of the run, or at the start of
  the next run after a kill, both files are merged into a new file, which replaces the old one. So the results file
  never has an item twice.
- One run at a time writes to it. It holds the lock ``.NAME.lock``, which the system releases however the run ends.
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

from ctckit.corpus.digests import is_current
from ctckit.corpus.errors import CorpusError
from ctckit.corpus.item_files import digests_of
from ctckit.corpus.outcomes import Outcome
from ctckit.files import real_path, whole_file

__all__ = ["ResultsFile", "lock_file", "read_results", "redone_file", "result_line"]

_BEGINNING = re.compile(rb'\{"id": "(?:[^"\\]|\\.)*"')
_TRUNCATED_ID = re.compile(rb'\{"id": "(?:[^"\\]|\\.)*\\?')
_NEXT = b', "options": "'


def result_line(outcome: Outcome, digest: str, *, ascii_only: bool = False) -> str:
    """Return a result as one line of JSON.

    Args:
        outcome: the result.
        digest: of the options, from `Task.digest`.
        ascii_only: whether to escape characters outside ASCII.

    Raises:
        ValueError: for NaN and infinity, which JSON lacks.
        TypeError: for a type that JSON lacks.
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
    """Return the path of the second file, with results that replace older ones."""
    return path.with_name(f".{path.name}.redone")


def read_results(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the results of a results file that are not stale."""
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
    """The results of a run and of earlier runs, as the module's docstring describes.

    Args:
        path: file to continue or to create.
        digest: digest of the current options.
        overwrite: whether to start over. Old results are kept until the first new result is written.
        wait: whether to wait while another run writes to it.

    Raises:
        CorpusError: if the file cannot be written, is not a results file, has results of other options, or has an item
            twice. And if another run writes to it, unless `wait`.
    """

    def __init__(self, path: str | Path, digest: str, *, overwrite: bool = False, wait: bool = False) -> None:
        self.name = str(path)
        self.path = real_path(path)
        self.digest = digest
        self.inputs: dict[str, str] = {}
        """From the id of each item with a result to the digest of its inputs."""
        self.files: dict[str, tuple[str, ...]] = {}
        """From the id of each item with files to the digests of these files."""
        self.stale: set[str] = set()
        """Ids of bad items with a result of earlier inputs."""
        self._was_stale: set[str] = set()
        self._overwrite = overwrite
        self._redone: _Lines | None = None
        self._spans: dict[str, tuple[int, int]] = {}  # from id to offset and length of its line in the second file
        self._lock = filelock.FileLock(lock_file(self.path))
        with self._os_errors_as_corpus_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            regular = self.path.is_file() or not self.path.exists()
            if regular:
                self._check_format(self.path, lines=1)  # before a lock file is created beside a file of the user
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
        """Read both files, check that they are results of this command, and merge them."""
        redone = redone_file(self.path)
        if self._overwrite:
            for path in (self.path, redone):
                self._check_format(path)
            return
        numbers: dict[str, int] = {}
        end = 0
        for number, start, line in self._entries(self.path):
            entry = self._entry(self.path, number, line)
            if entry.id in numbers:
                raise CorpusError(
                    f"{self.name!r} has the item {entry.id!r} twice, in lines {numbers[entry.id]} and {number}: remove "
                    f"one of them, or start over with --overwrite"
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
            self._check_format(redone)
            redone.unlink()  # its results replace deleted ones
        elif redone.exists():
            for number, start, line in self._entries(redone):
                entry = self._entry(redone, number, line)
                self._remember(entry)
                self.stale.discard(entry.id)
                self._spans[entry.id] = (start, len(line))
            self._merge()

    def _remember(self, entry: _Entry) -> None:
        self.inputs[entry.id] = entry.inputs
        if entry.files:
            self.files[entry.id] = entry.files

    def _check_format(self, path: Path, lines: int | None = None) -> None:
        for number, _, line in itertools.islice(self._entries(path), lines):
            if _parsed(line) is None:
                raise self._not_results(path, number)

    def _entries(self, path: Path) -> Iterator[tuple[int, int, bytes]]:
        """Yield number, offset and content of each line, except a truncated last line."""
        if not path.exists():
            return
        at = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    if not _may_be_truncated(line):
                        raise self._not_results(path, number)
                    return
                yield number, at, line
                at += len(line)

    def _name_of(self, path: Path) -> str:
        return self.name if path == self.path else str(path)

    def _not_results(self, path: Path, number: int) -> CorpusError:
        return CorpusError(
            f"{self._name_of(path)!r} exists, but its line {number} is not a result of this command: name another "
            f"output, or delete it"
        )

    def _entry(self, path: Path, number: int, line: bytes) -> _Entry:
        entry = _parsed(line)
        if entry is None:
            raise self._not_results(path, number)
        if entry.options != self.digest:
            raise CorpusError(
                f"{self._name_of(path)!r} holds results made with other options, or another vocabulary "
                f"(line {number}): use the same, name another output, or start over with --overwrite"
            )
        return entry

    # -------------------------------------------------------------------------------------------------------- writing

    def has(self, name: str, inputs: str) -> bool:
        """Return whether it has a result of an item that was made from these inputs."""
        then = self.inputs.get(name)
        if then is None or not is_current(then, inputs):
            return False
        self.stale.discard(name)
        return True

    def write(self, outcome: Outcome, line: str) -> None:
        """Add a result, or replace the older result of the item.

        Raises:
            CorpusError: if it cannot be written. Results already written are kept.
        """
        data = line.encode("utf-8", "backslashreplace")  # a lone surrogate becomes the escape that JSON has
        with self._os_errors_as_corpus_errors():
            self._discard_old()
            if outcome.id in self.inputs:
                if self._redone is None:
                    self._redone = _Lines(redone_file(self.path))
                self._spans[outcome.id] = (self._redone.append(data), len(data))
            else:
                self._lines.append(data)
            self.inputs[outcome.id] = outcome.inputs
            self.stale.discard(outcome.id)

    def finish(self, *, complete: bool = True) -> None:
        """Merge the results that replace older ones.

        Args:
            complete: whether the run came to its end. If not, and it has written nothing, a file that it was to
                overwrite is kept.

        Raises:
            CorpusError: if the file cannot be written. Then the next run merges.
        """
        with self._os_errors_as_corpus_errors():
            if complete:
                self._discard_old()
            if self._redone is not None:
                self._redone.close()
            if self._spans or self.stale != self._was_stale:
                self._lines.close()
                self._merge()

    def close(self) -> None:
        """Close the file, and release the lock."""
        if self._redone is not None:
            self._redone.close()
        self._lines.close()
        self._lock.release()

    def _discard_old(self) -> None:
        if self._overwrite:
            self._overwrite = False
            redone_file(self.path).unlink(missing_ok=True)
            self._lines.clear()

    def _merge(self) -> None:
        redone = redone_file(self.path)
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(whole_file(self.path))
            source = stack.enter_context(self.path.open("rb"))
            replacing = stack.enter_context(redone.open("rb")) if self._spans else None
            left = dict(self._spans)
            for number, line in enumerate(source, 1):
                entry = self._entry(self.path, number, line)
                stale = entry.id in self.stale
                if entry.id in left:
                    target.write(_read_span(replacing, left.pop(entry.id)))
                else:
                    target.write(line if entry.stale == stale else _mark_stale(line, stale=stale))
            for span in left.values():  # of results that were deleted meanwhile
                target.write(_read_span(replacing, span))
        redone.unlink(missing_ok=True)
        self._spans.clear()
        self._was_stale = set(self.stale)

    @contextlib.contextmanager
    def _os_errors_as_corpus_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CorpusError(
                f"the results cannot be written to {self.name!r}: {error.strerror or error}; results already written "
                f"are kept"
            ) from error


class _Lines:
    """A file to which whole lines are appended."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._regular = path.is_file()  # rather than a pipe
        self._end = path.stat().st_size

    def append(self, data: bytes) -> int:
        """Append a line and return its offset. If it cannot be written whole, the file is as before."""
        start, rest = self._end, memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except BaseException:
            if self._regular:
                with contextlib.suppress(OSError):
                    self._file.truncate(start)
            raise
        self._end = start + len(data)
        return start

    def clear(self) -> None:
        if self._regular:
            self._file.truncate(0)
            self._end = 0

    def close(self) -> None:
        self._file.close()


def _parsed(line: bytes) -> _Entry | None:
    """Parse a line; None if it is not a result of this command."""
    try:
        entry = json.loads(line)
        name, options, inputs = entry["id"], entry["options"], entry.get("inputs", "")
        stale, files = entry.get("stale", False), entry.get("files", ())
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (isinstance(name, str) and isinstance(options, str) and re.fullmatch("[0-9a-f]{12}", options)):
        return None
    return _Entry(name, options, str(inputs), stale is True, tuple(map(str, files)) if isinstance(files, list) else ())


def _may_be_truncated(line: bytes) -> bool:
    """Return whether a last line without a newline can only be the beginning of a result."""
    begun = _BEGINNING.match(line)
    if begun is None:
        start = b'{"id": "'
        return start.startswith(line) or _TRUNCATED_ID.fullmatch(line) is not None
    rest = line[begun.end() :]
    return _NEXT.startswith(rest) or rest.startswith(_NEXT)


def _mark_stale(line: bytes, *, stale: bool) -> bytes:
    entry = json.loads(line)
    entry.pop("stale", None)
    if stale:
        entry = {key: entry.pop(key) for key in ("id", "options", "inputs") if key in entry} | {"stale": True} | entry
    return (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _read_span(file: Any, span: tuple[int, int]) -> bytes:
    file.seek(span[0])
    return bytes(file.read(span[1]))
