"""The files that a task makes per item: what they are called, and that none of them replaces what is another's."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import stat
import unicodedata
import urllib.parse
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ctckit.corpus.errors import ItemError
from ctckit.corpus.outcomes import Outcome
from ctckit.files import write_whole

__all__ = ["SUFFIXES", "FileNames", "digests_of", "file_stem", "write_files"]

SUFFIXES = {"json": "json", "ctm": "ctm", "textgrid": "TextGrid", "srt": "srt", "vtt": "vtt"}
"""The end of the name of a file in each format."""

_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # no names of files on Windows
_LOOKS = {
    "TextGrid": r'\s*File type = "ooTextFile"',
    "srt": r"\s*(\d+\s+\d+:\d\d:\d\d,\d+ -->|$)",
    "vtt": r"WEBVTT",
    "ctm": r"\s*(\S+ \S+ \d+\.\d+ \d+\.\d+ |$)",
}


def file_stem(name: str) -> str:
    """Make an item's id the name of a file: whatever no file system minds stays, the rest is written ``%2F``.

    >>> file_stem("speaker 1/a.npy")
    'speaker 1%2Fa.npy'
    """
    stem = urllib.parse.quote(name, safe=" +,=@()[]{}!#&'")
    if stem.startswith(".") or _DEVICES.fullmatch(stem.partition(".")[0]):
        stem = f"%{ord(stem[0]):02X}{stem[1:]}"
    return stem if len(stem) <= 200 else f"{stem[:180]}-{_hash(name)}"


class FileNames:
    """Names of files such that no two items have one, even where case makes no difference.

    The first of items whose names are alike has the plain one, in the manifest's order; to the others' a digest of the
    id is added.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._renamed: dict[str, str] = {}

    def reserve(self, name: str) -> str:
        """Return the stem for an id; to be called for every item, in the manifest's order."""
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
    """Write files, each at once: one that is there is whole.

    Args:
        files: names and contents.
        folder: where to.
        overwrite: whether to replace any file of the same format.
        ours: digests of what an earlier run has written for the item, which may be replaced.

    Raises:
        ItemError: of kind 'exists', if a file is there that must not be replaced; then none is written.
    """
    fresh = [(folder / name, content.encode()) for name, content in files]
    fresh = [(path, content) for path, content in fresh if _may_be_written(path, content, ours, overwrite=overwrite)]
    for path, content in fresh:
        write_whole(path, content)


def _may_be_written(path: Path, content: bytes, ours: Collection[str], *, overwrite: bool) -> bool:
    """Return whether there is something to write; raise an error if something else is in its place."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        mode = 0
    if not stat.S_ISREG(mode):
        raise ItemError("exists", f"{str(path)!r} is there, and is no file: remove it, or name another folder")
    found = path.read_bytes()
    if found == content:
        return False
    if not (_digest(found) in ours or (overwrite and _looks_like(path, found))):
        remedy = "it is no file of that format" if overwrite else "--overwrite replaces it"
        raise ItemError("exists", f"{str(path)!r} is there with another content: {remedy}, or name another folder")
    return True


def _looks_like(path: Path, content: bytes) -> bool:
    """Return whether a file holds what its suffix says, as far as can be told from its beginning."""
    try:
        text = content.decode("utf-8")
        if path.suffix == ".json":
            found = json.loads(text)
            return isinstance(found, dict) and found.keys() >= {"frames", "tokens", "words"}
    except (ValueError, RecursionError):
        return False
    pattern = _LOOKS.get(path.suffix[1:])
    return pattern is not None and re.match(pattern, text) is not None


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
