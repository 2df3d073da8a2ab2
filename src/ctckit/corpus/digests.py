"""Digests of the inputs of a result: a later run compares them to see whether the inputs have changed.

The digest of an item has two parts, ``fields-file``. The first is of the item's fields in the manifest. The second is
of size and date of the file that they name; it is empty if there is no such file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Final

from ctckit.corpus.archives import split_key
from ctckit.corpus.manifest import Item
from ctckit.corpus.objects import source_file

__all__ = [
    "file_digest",
    "inputs_digest",
    "is_current",
    "large_file_digest",
    "object_digest",
    "short_digest",
    "size_and_date",
]

_READ: Final = 1 << 20  # bytes at a time
_LARGE: Final = 1 << 28  # bytes: to read more takes a second or more


def short_digest(values: object) -> str:
    """Return a digest of JSON values: 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def inputs_digest(item: Item, model: str | None) -> str:
    """Return the digest of an item.

    Args:
        item: the item.
        model: ``module:function``, or None. It and its source are inputs of items without emissions.
    """
    said = [item.tokens if item.tokens is not None else item.text, item.frame_duration, item.offset]
    if item.emissions is not None:
        file = split_key(item.emissions)[0]
        said += [os.path.abspath(item.emissions)]  # noqa: PTH100  # resolve() is slow
    else:
        file = Path(str(item.audio))
        said += [os.path.abspath(file), model, object_digest(model) if model is not None else None]  # noqa: PTH100
    state = size_and_date(file)
    return f"{short_digest(said)}-{short_digest(state) if state is not None else ''}"


def is_current(then: str, now: str) -> bool:
    """Return whether a result that was made from inputs with the digest `then` is valid for the digest `now`.

    If the file is gone, only the fields count: emissions may be deleted after use.

    >>> is_current("ab-12", "ab-12"), is_current("ab-12", "ab-34"), is_current("ab-12", "ab-")
    (True, False, True)
    """
    return then == now or (now.endswith("-") and then.startswith(now))


def size_and_date(path: str | Path) -> tuple[int, int] | None:
    """Return the size of a file in bytes and its date in ns; None if it does not exist or is not a regular file."""
    try:
        state = Path(path).stat()
    except (OSError, ValueError):  # a NUL in the name, or too long a name
        return None
    return (state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def object_digest(name: str) -> str | None:
    """Return the digest of the source of ``module:attribute``; None if its file is not found."""
    path = source_file(name)
    return None if path is None else file_digest(path)


def file_digest(path: str | Path) -> str | None:
    """Return the digest of a file's content; None if it cannot be read."""
    state = size_and_date(path)
    try:
        return None if state is None else _file_digest(os.path.abspath(path), state)  # noqa: PTH100
    except OSError:
        return None


def large_file_digest(path: str | Path) -> str | None:
    """Return the digest of a file's content; of a file of more than 256 MiB, that of its size and date."""
    state = size_and_date(path)
    return file_digest(path) if state is None or state[0] <= _LARGE else short_digest(state)


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, _: tuple[int, int]) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(_READ):
            digest.update(piece)
    return digest.hexdigest()
