"""The files that a task writes per item: their names, and which existing files they may replace."""

from __future__ import annotations

import errno
import hashlib
import re
import stat
import unicodedata
import urllib.parse
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ctckit.corpus.errors import ItemError
from ctckit.corpus.formats import format_of_suffix
from ctckit.corpus.outcomes import Outcome
from ctckit.files import write_whole

__all__ = ["FileNames", "digests_of", "file_stem", "write_files"]

_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # Windows allows no file of these names


def file_stem(name: str) -> str:
    """Turn an item's id into a file name without its suffix.

    Characters that every file system allows stay; others are percent-encoded (``%2F``). A result of more than 200
    characters is cut, and a digest of the id is added.

    >>> file_stem("speaker 1/a.npy")
    'speaker 1%2Fa.npy'
    """
    stem = urllib.parse.quote(name, safe=" +,=@()[]{}!#&'")
    if stem.startswith(".") or _DEVICES.fullmatch(stem.partition(".")[0]):
        stem = f"%{ord(stem[0]):02X}{stem[1:]}"
    return stem if len(stem) <= 200 else f"{stem[:180]}-{_hash(name)}"


class FileNames:
    """File names that are unique, even on a file system that ignores case.

    If the names of several items differ only in case, the first item in the manifest's order has the plain name. The
    names of the others get a digest of the id.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._renamed: dict[str, str] = {}

    def reserve(self, name: str) -> str:
        """Return the stem for an id. Call this for every item, in the manifest's order."""
        stem = file_stem(name)
        key = unicodedata.normalize("NFC", stem).casefold()
        if key in self._taken:
            stem = self._renamed[name] = f"{stem}-{_hash(name)}"
        self._taken.add(key)
        return stem

    def of(self, outcome: Outcome) -> Iterator[tuple[str, str]]:
        """Yield names and contents of an outcome's files."""
        plain, stem = file_stem(outcome.id), self._renamed.get(outcome.id)
        for name, content in outcome.files:
            yield (stem + name.removeprefix(plain) if stem is not None and name.startswith(plain) else name), content


def digests_of(outcome: Outcome) -> list[str]:
    """Return a digest of the content of each of an outcome's files."""
    return [_digest(content.encode()) for _, content in outcome.files]


def write_files(files: Iterable[tuple[str, str]], folder: Path, *, overwrite: bool, ours: Collection[str] = ()) -> None:
    """Write the files of an item, each whole or not at all.

    Args:
        files: names and contents.
        folder: the folder to write to.
        overwrite: whether to replace any file of the same format.
        ours: digests of the files that an earlier run wrote for the item. Files with these digests may be replaced.

    Raises:
        ItemError: of kind 'exists', if an existing file must not be replaced. Then nothing is written.
    """
    fresh = [(folder / name, content.encode()) for name, content in files]
    fresh = [(path, content) for path, content in fresh if _may_be_written(path, content, ours, overwrite=overwrite)]
    for path, content in fresh:
        write_whole(path, content)


def _may_be_written(path: Path, content: bytes, ours: Collection[str], *, overwrite: bool) -> bool:
    """Return whether the file must be written, or has its content already.

    Raises:
        ItemError: if an existing file must not be replaced.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        mode = 0
    if not stat.S_ISREG(mode):
        raise ItemError("exists", f"{str(path)!r} exists and is not a file: remove it, or name another folder")
    found = path.read_bytes()
    if found == content:
        return False
    if _digest(found) in ours:
        return True
    if not overwrite:
        raise ItemError(
            "exists", f"{str(path)!r} exists with other content: replace it with --overwrite, or name another folder"
        )
    if not _has_format_of_its_suffix(path, found):
        raise ItemError("exists", f"{str(path)!r} exists and is not a file of that format: name another folder")
    return True


def _has_format_of_its_suffix(path: Path, content: bytes) -> bool:
    file_format = format_of_suffix(path.suffix[1:])
    try:
        return file_format is not None and bool(file_format.matches(content.decode("utf-8")))
    except UnicodeDecodeError:
        return False


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
