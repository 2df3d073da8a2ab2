"""Arrays in .npz and .safetensors files. The archives used last stay open.

An archive may come from an untrusted source: the size of an array is limited, and pickles are never loaded.
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

__all__ = ["MAX_ARRAY_BYTES", "Array", "open_archive", "split_key"]

MAX_ARRAY_BYTES = 2**31
"""Default limit for the size of an array in an archive, in bytes."""

Array = np.ndarray[Any, np.dtype[Any]]

_KEYED = re.compile(r"(?P<path>.*\.(?:npz|safetensors))\[(?P<key>[^\[\]]+)\]", re.IGNORECASE | re.DOTALL)
_MAX_OPEN = 16  # archives


def split_key(source: str) -> tuple[Path, str | None]:
    """Split ``file.npz[name]`` into file and name. The name of any other path is None.

    >>> path, name = split_key("all.npz[a1]")
    >>> str(path), name
    ('all.npz', 'a1')
    """
    keyed = _KEYED.fullmatch(source)
    return (Path(keyed["path"]), keyed["key"]) if keyed else (Path(source), None)


class Archive(Protocol):
    """A file of named arrays."""

    names: list[str]
    """The names of its arrays."""

    def read(self, name: str, limit: int) -> Tensor | Array:
        """Read an array; raise an `ItemError` if it has more than `limit` bytes."""


def open_archive(path: Path) -> Archive:
    """Open an archive, or return an open one if the file has not changed.

    Args:
        path: a ``.safetensors`` file, or an ``.npz`` file with any other suffix.

    Raises:
        CorpusError: if safetensors is not installed.
        Exception: if it cannot be read. A damaged file raises many types of exceptions.
    """
    return _open_archives.get(path)


class _NpzArchive:
    """A file of `numpy.savez` or `numpy.savez_compressed`."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
        self.names = list(self._members)

    def read(self, name: str, limit: int) -> Array:
        info = self._members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # For other methods, zipfile may expand more bytes than requested.
            raise ItemError("unreadable", f"its array {name!r} is compressed with a method that NumPy does not use")
        _must_fit(info.file_size, limit, name)
        with self._zip.open(info) as file:
            shape, fortran, dtype = _header(file)
            if dtype.hasobject:
                raise ItemError("unreadable", f"its array {name!r} holds Python objects (a pickle), not numbers")
            size = math.prod(shape) * dtype.itemsize
            if min(shape, default=0) < 0 or size != info.file_size - file.tell():
                raise ItemError(
                    "unreadable", f"its array {name!r} has the shape {shape} in its header, but another number of bytes"
                )
            data = file.read(size)
            if len(data) != size or file.read(1):  # reading past the end compares the checksum
                raise ItemError("unreadable", f"its array {name!r} is truncated or damaged")
        array: Array = np.frombuffer(data, dtype)
        return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ItemError(
        "unreadable", f"it is of version {version} of NumPy's format, but only versions 1.0 and 2.0 hold plain arrays"
    )


class _SafetensorsArchive:
    def __init__(self, path: Path) -> None:
        try:
            import safetensors  # noqa: PLC0415  # optional
        except ImportError as error:
            raise CorpusError("safetensors is not installed: pip install 'ctckit[corpus]'") from error
        archive: Any = safetensors.safe_open(path, framework="pt")
        self._file = archive
        self.names = [str(name) for name in archive.keys()]  # noqa: SIM118  # not a dict

    def read(self, name: str, limit: int) -> Tensor:
        part = self._file.get_slice(name)
        # Every type takes at most 8 bytes. Only an array that may exceed the limit needs its exact size.
        count = math.prod(part.get_shape())
        if 8 * count > limit:
            width = re.search(r"\d+", str(part.get_dtype()))
            _must_fit(count * (int(width[0]) // 8 if width else 1), limit, name)
        values = self._file.get_tensor(name)
        if not isinstance(values, Tensor):
            raise ItemError("unreadable", f"its array {name!r} is not a tensor")
        return values


def _must_fit(size: int, limit: int, name: str) -> None:
    if size > limit:
        raise ItemError(
            "too_large",
            f"its array {name!r} has {size:,} bytes, more than the limit of {limit:,}: if the size is right, "
            f"raise the limit (--max-array-bytes)",
        )


class _OpenArchives:
    """The archives used last.

    A forked process opens its own archives, because processes that share an open file share its position.
    """

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
            while len(self._kept) > _MAX_OPEN:
                self._kept.popitem(last=False)  # it closes when its last reader is done
        return archive

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._kept = OrderedDict()


_open_archives = _OpenArchives()
