"""Results on the disk, such that a run that was stopped at any moment can be gone on with."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.tasks import Outcome

__all__ = ["FaultsFile", "ResultsFile", "write_files"]


class ResultsFile:
    """JSON lines, one per item: its id, a digest of the options that it was made with, and its result.

    Each line is handed to the system as a whole, as soon as it is there. What a kill may leave is a torn last line: it
    is cut off when the file is opened again.

    Args:
        path: file to go on with, or to make.
        digest: that of the options now.
        overwrite: whether to start anew.

    Raises:
        CorpusError: if it cannot be written, is no such file, or was made with other options.
    """

    def __init__(self, path: str | Path, digest: str, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.digest = digest
        self.done: set[str] = set()
        """The ids of the items that are in it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not overwrite and self.path.exists():
                self._read()
            self._file: IO[bytes] = self.path.open("wb" if overwrite else "ab")
        except OSError as error:
            raise CorpusError(f"the results cannot be written to {str(path)!r}: {error.strerror or error}") from error

    def _read(self) -> None:
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break  # torn
                self._remember(line, number)
                end += len(line)
        if end < self.path.stat().st_size:
            os.truncate(self.path, end)

    def _remember(self, line: bytes, number: int) -> None:
        try:
            entry = json.loads(line)
            name, digest = str(entry["id"]), entry["options"]
        except (ValueError, KeyError, TypeError):
            raise CorpusError(
                f"{str(self.path)!r} exists, and its line {number} is no result of this command: name another output, "
                f"or start anew with --overwrite"
            ) from None
        if digest != self.digest:
            raise CorpusError(
                f"{str(self.path)!r} holds results made with other options, or another vocabulary: go on with the "
                f"same, name another output, or start anew with --overwrite"
            )
        self.done.add(name)

    def write(self, outcome: Outcome) -> None:
        """Add a result."""
        self._file.write(result_line(outcome, self.digest).encode())
        self._file.flush()
        self.done.add(outcome.id)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def result_line(outcome: Outcome, digest: str) -> str:
    """Write a result as one line of JSON."""
    entry: dict[str, Any] = {"id": outcome.id, "options": digest, **(outcome.result or {})}
    return json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"


class FaultsFile:
    """JSON lines of what could not be done: id, line, kind, message. Made at the first fault, anew in every run.

    Args:
        path: file to make; one of an earlier run is removed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.unlink(missing_ok=True)

    def write(self, outcome: Outcome) -> None:
        """Add a fault."""
        fault = outcome.fault
        if fault is None:
            return
        entry = {"id": outcome.id, "line": outcome.line, "kind": fault.kind, "message": fault.message}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def write_files(outcome: Outcome, folder: Path) -> None:
    """Write an outcome's files, each at once: a file that is there is whole."""
    for name, content in outcome.files:
        partial = folder / f".{name[:200]}.partial"
        partial.write_text(content, encoding="utf-8", newline="\n")
        partial.replace(folder / name)


@contextlib.contextmanager
def opened(path: str | Path | None, digest: str, *, overwrite: bool) -> Any:
    """Open a results file; yield its `done` and `write`, of nothing if there is no path."""
    if path is None:
        nothing: tuple[set[str], Callable[[Outcome], None]] = (set(), lambda _: None)
        yield nothing
        return
    with contextlib.closing(ResultsFile(path, digest, overwrite=overwrite)) as file:
        yield file.done, file.write
