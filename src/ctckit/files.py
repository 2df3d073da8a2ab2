"""Files that are written whole or not at all, and a test whether two paths name the same file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["partial_file", "real_path", "same_file", "whole_file", "write_whole"]


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    r"""Write a file: it has all of `content`, or its old content.

    The content goes into a temporary file in the same folder, whose name ends in ``.partial``. It is renamed to `path`
    once it is on the disk. After an error the temporary file is removed. A kill may leave it; the next call for the
    same path removes it.

    Args:
        path: file to write. A symbolic link is kept: its target is written. An existing file keeps its mode. A pipe or
            a device, such as ``/dev/stdout``, is written to directly.
        content: the content. Text is written as UTF-8; line ends are not changed.

    Raises:
        OSError: if the file cannot be written.
        UnicodeEncodeError: for lone surrogates, which UTF-8 cannot encode. Nothing is written then.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> write_whole(path, "hello\n")
        >>> path.read_bytes()
        b'hello\n'
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    r"""Open a file to write: when the block ends it has all that was written; after an error, its old content.

    This is `write_whole` for content that comes in pieces.

    Args:
        path: as for `write_whole`.

    Yields:
        The temporary file.

    Raises:
        OSError: if the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> with whole_file(path) as file:
        ...     _ = file.write(b"hello\n")
        >>> path.read_bytes()
        b'hello\n'
    """
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, but must be a file", os.fspath(path))
    if mode is not None and not stat.S_ISREG(mode):
        with Path(path).open("wb") as file:
            yield file
        return
    target = real_path(path)
    partial = partial_file(target)
    partial.unlink(missing_ok=True)  # left by a killed run
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    identity = _identity(os.fstat(descriptor))
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # opens a descriptor
            if mode is not None:
                partial.chmod(stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        _check_identity(partial, identity)
        partial.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            if _identity(partial.stat()) == identity:
                partial.unlink()
        raise


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Return whether two paths name the same file, through links and on file systems that ignore case, too.

    Args:
        a: a path. The file need not exist.
        b: another path.

    Example:
        >>> same_file("out/results.jsonl", "out/../out/./results.jsonl")
        True
        >>> same_file("results.jsonl", "errors.jsonl")
        False
    """
    try:
        (folder_a, rest_a), (folder_b, rest_b) = _parts(a), _parts(b)
        if not folder_a.samefile(folder_b):
            return False
        return rest_a == rest_b or (_folded(rest_a) == _folded(rest_b) and _ignores_case(folder_a))
    except (OSError, ValueError):  # invalid paths: a NUL, too long a name
        return os.fspath(a) == os.fspath(b)


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file without links. A pipe or a device keeps its path.

    If the standard output is a pipe, ``/dev/stdout`` is a link to ``pipe:[1234]``, which cannot be opened.

    Args:
        path: a path. The file need not exist.
    """
    mode = _mode(path)
    if mode is None or stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return Path(os.path.realpath(path))
    return Path(path)


def partial_file(path: Path) -> Path:
    """Return the path of the temporary file. It depends on the path only, so the next try replaces one left by a kill.

    Args:
        path: path of the final file, without links.
    """
    name = f".{path.name}.partial"
    if len(os.fsencode(name)) > 255:  # the limit of most file systems
        name = f".{path.name[:40]}.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.partial"
    return path.with_name(name)


def _check_identity(partial: Path, identity: tuple[int, int]) -> None:
    if _identity(partial.stat()) != identity:
        raise FileExistsError(errno.EEXIST, "another process writes to it at the same time", str(partial))


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def _mode(path: str | os.PathLike[str]) -> int | None:
    try:
        return os.stat(path).st_mode  # noqa: PTH116
    except FileNotFoundError:
        return None


def _parts(path: str | os.PathLike[str]) -> tuple[Path, tuple[str, ...]]:
    """Split a path into the part that exists, the file itself or a folder, and the names below it."""
    whole = Path(os.path.realpath(path))
    found = next(parent for parent in (whole, *whole.parents) if parent.exists())
    return found, whole.parts[len(found.parts) :]


def _folded(names: tuple[str, ...]) -> list[str]:
    return [unicodedata.normalize("NFC", name).casefold() for name in names]


def _ignores_case(folder: Path) -> bool:
    """Return whether the file system ignores case, by a look for the folder, or one above it, in the other case."""
    for path in (folder, *folder.parents):
        other = path.with_name(path.name.swapcase()) if path.name else path
        if other.name != path.name:
            return other.exists() and other.samefile(path)
    return os.name == "nt"
