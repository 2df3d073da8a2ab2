"""Arrays in .npz and .safetensors files, of which the last few stay open.

An archive may come from anywhere: what it expands to is bounded, and pickles are never loaded.
"""

from __future__ import annotations

import math
import os
import re
import threading
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from torch import Tensor

from ctckit.corpus.errors import CorpusError, ItemError

__all__ = ["MAX_ARRAY_BYTES", "Array", "opened", "split_key"]

MAX_ARRAY_BYTES = 2**31
"""How large an array of an archive may be, by default."""

Array = np.ndarray[Any, np.dtype[Any]]

_KEYED = re.compile(r"(?P<path>.*\.(?:npz|safetensors))\[(?P<key>[^\[\]]+)\]", re.IGNORECASE | re.DOTALL)
_KEPT = 16  # archives that stay open


def split_key(source: str) -> tuple[Path, str | None]:
    """Split ``file.npz[name]`` into file and name; other paths have no name.

    >>> path, name = split_key("all.npz[a1]")
    >>> str(path), name
    ('all.npz', 'a1')
    """
    keyed = _KEYED.fullmatch(source)
    return (Path(keyed["path"]), keyed["key"]) if keyed else (Path(source), None)


class Archive(Protocol):
    """A file of named arrays."""

    names: list[str]
    """What arrays there are."""

    def read(self, name: str, limit: int) -> Tensor | Array:
        """Read one; an `ItemError` if it has more than `limit` bytes."""


def opened(path: Path) -> Archive:
    """Return the archive at a path, open already if it was one of the last few, and if the file is still the same.

    Args:
        path: a ``.safetensors`` file, or an ``.npz`` file with any other name.

    Raises:
        CorpusError: if safetensors is not installed.
        Exception: if it cannot be read; a torn file has a dozen ways to fail.
    """
    return _open_archives.get(path)


class _NpzArchive:
    """What `numpy.savez` and `numpy.savez_compressed` write."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
        self.names = list(self._members)

    def read(self, name: str, limit: int) -> Array:
        info = self._members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Of other kinds, zipfile expands more than was asked for.
            raise ItemError("unreadable", f"its array {name!r} is compressed in a way that NumPy does not write")
        _must_fit(info.file_size, limit, name)
        with self._zip.open(info) as file:
            shape, fortran, dtype = _header(file)
            if dtype.hasobject:
                raise ItemError("unreadable", f"its array {name!r} holds Python objects (a pickle), not numbers")
            size = math.prod(shape) * dtype.itemsize
            if min(shape, default=0) < 0 or size != info.file_size - file.tell():
                raise ItemError(
                    "unreadable", f"its array {name!r} claims the shape {shape}, but does not have as many numbers"
                )
            data = file.read(size)
            if len(data) != size or file.read(1):  # the end, where the check sum is compared
                raise ItemError("unreadable", f"its array {name!r} is torn")
        array: Array = np.frombuffer(data, dtype)
        return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ItemError("unreadable", f"it is of version {version} of NumPy's format, which is for arrays of records")


class _SafetensorsArchive:
    def __init__(self, path: Path) -> None:
        try:
            import safetensors  # noqa: PLC0415  # optional
        except ImportError as error:
            raise CorpusError("safetensors is not installed: pip install 'ctckit[corpus]'") from error
        archive: Any = safetensors.safe_open(path, framework="pt")
        self._file = archive
        self.names = [str(name) for name in archive.keys()]  # noqa: SIM118  # it is no dict

    def read(self, name: str, limit: int) -> Tensor:
        part = self._file.get_slice(name)
        # Every type that it has takes at most 8 bytes; what is above the limit is looked at more closely.
        count = math.prod(part.get_shape())
        if 8 * count > limit:
            width = re.search(r"\d+", str(part.get_dtype()))
            _must_fit(count * (int(width[0]) // 8 if width else 1), limit, name)
        values = self._file.get_tensor(name)
        if not isinstance(values, Tensor):
            raise ItemError("unreadable", f"its array {name!r} is no tensor")
        return values


def _must_fit(size: int, limit: int, name: str) -> None:
    if size > limit:
        raise ItemError(
            "too_large",
            f"its array {name!r} has {size:,} bytes, more than the limit of {limit:,}: if that is right, raise it "
            f"(--max-array-bytes)",
        )


class _OpenArchives:
    """The last few archives. A process that was forked opens its own: two that share a file share its position."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[tuple[int, ...], Archive]] = OrderedDict()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def get(self, path: Path) -> Archive:
        state = path.stat()
        name = str(path.absolute())
        same = (os.getpid(), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None and kept[0] == same:
                self._kept.move_to_end(name)
                return kept[1]
        archive: Archive = (_SafetensorsArchive if path.suffix.lower() == ".safetensors" else _NpzArchive)(path)
        with self._lock:
            self._kept[name] = (same, archive)
            self._kept.move_to_end(name)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)  # it closes when the last who reads from it is done
        return archive

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._kept = OrderedDict()


_open_archives = _OpenArchives()
