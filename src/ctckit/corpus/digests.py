"""Short names for what a result was made from, so that a later run can tell whether it still belongs to its inputs.

The digest of an item has two parts, ``fields-files``. The first is of what the manifest says, the second of size and
date of the file that it names; the second is empty where there is no such file (any more).
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from pathlib import Path

from ctckit.corpus.archives import split_key
from ctckit.corpus.manifest import Item
from ctckit.corpus.objects import source_file

__all__ = ["belongs", "file_digest", "inputs_digest", "object_digest", "short_digest", "stamp"]


def short_digest(values: object) -> str:
    """Return 12 hexadecimal digits for values that JSON has."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def inputs_digest(item: Item, model: str | None) -> str:
    """Return the digest of an item.

    Args:
        item: what the manifest says.
        model: ``module:function``, if there is one. It counts, with its source, for items that have no emissions.
    """
    said = [item.tokens if item.tokens is not None else item.text, item.frame_duration, item.offset]
    if item.emissions is not None:
        file = split_key(item.emissions)[0]
        said += [os.path.abspath(item.emissions)]  # noqa: PTH100  # not resolve(): it is slow
    else:
        file = Path(str(item.audio))
        said += [os.path.abspath(file), model, object_digest(model) if model is not None else None]  # noqa: PTH100
    state = stamp(file)
    return f"{short_digest(said)}-{short_digest(state) if state is not None else ''}"


def belongs(then: str, now: str) -> bool:
    """Return whether a result made from inputs with one digest belongs to those with another.

    Where the file is gone, what the manifest says decides: emissions may be deleted once they are used.

    >>> belongs("ab-12", "ab-12"), belongs("ab-12", "ab-34"), belongs("ab-12", "ab-")
    (True, False, True)
    """
    return then == now or (now.endswith("-") and then.startswith(now))


def stamp(path: str | Path) -> tuple[int, int] | None:
    """Return size and date (in ns) of a file; None if there is none, or it is a pipe, a device or a folder."""
    try:
        state = Path(path).stat()
    except (OSError, ValueError):  # a NUL, or too long a name
        return None
    return (state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def object_digest(name: str) -> str | None:
    """Return the digest of the source of ``module:attribute``; None if it has no file."""
    path = source_file(name)
    return None if path is None else file_digest(path)


def file_digest(path: str | Path) -> str | None:
    """Return the digest of a file's content; None if it cannot be read."""
    state = stamp(path)
    try:
        return None if state is None else _file_digest(os.path.abspath(path), state)  # noqa: PTH100
    except OSError:
        return None


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, _: tuple[int, int]) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
