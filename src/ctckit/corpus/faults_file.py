"""The file that lists the bad items of a run."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.outcomes import Outcome
from ctckit.files import real_path, whole_file

__all__ = ["FaultsFile"]

_KEYS = {"id", "line", "kind", "message"}
_IN_MEMORY = 2**22  # bytes; a longer list is kept in a temporary file


class FaultsFile:
    """The bad items of a run as JSON lines with id, line, kind and message. Every run writes it at its end.

    Args:
        path: file to write. A list of an earlier run is replaced, or removed if no item is bad. No other file is
            replaced.

    Raises:
        CorpusError: if the file exists and is not such a list.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.count = 0
        try:
            self._regular = self.path.is_file() or not self.path.exists()
            if self.path.is_dir():
                raise CorpusError(f"the errors cannot be written to {str(path)!r}: it is a folder")
            if self._regular and self.path.exists():
                self._check_is_error_list()
        except (OSError, ValueError) as error:
            if isinstance(error, CorpusError):
                raise
            raise CorpusError(f"the errors cannot be written to {str(path)!r}: {error}") from error
        self._faults = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # closed by close()

    def _check_is_error_list(self) -> None:
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    entry = None
                if not (isinstance(entry, dict) and entry.keys() == _KEYS):
                    raise CorpusError(
                        f"{str(self.path)!r} exists, but its line {number} is not an entry of an error list: name "
                        f"another file for the errors (--errors), or delete it"
                    )

    def write(self, outcome: Outcome) -> None:
        """Add a fault."""
        fault = outcome.fault
        if fault is None:
            return
        entry = {"id": outcome.id, "line": outcome.line, "kind": fault.kind, "message": fault.message}
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        # UTF-8 cannot encode a lone surrogate; JSON has an escape for it.
        self._faults.write(line.encode("utf-8", "backslashreplace"))
        self.count += 1

    def finish(self) -> None:
        """Write the list, or remove that of an earlier run if no item is bad.

        Raises:
            CorpusError: if it cannot be written.
        """
        try:
            if self.count:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._faults.seek(0)
                with whole_file(self.path) as file:
                    shutil.copyfileobj(self._faults, file)
            elif self._regular and self.path.exists() and self.path.stat().st_size:
                real_path(self.path).unlink()  # a link to it stays: the next run writes through it
        except OSError as error:
            raise CorpusError(
                f"the errors cannot be written to {str(self.path)!r}: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Free the memory."""
        self._faults.close()
