"""Files that are written whole or not at all, and whether two paths name one file."""

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
    r"""Write a file such that it holds all of `content`, or what it held before.

    The content goes into a temporary file of the same folder, whose name ends in ``.partial``, and that is renamed to
    `path` once it is on the disk. A kill may leave the temporary file; an error removes it, and so does the next
    call for the same path.

    Args:
        path: file to write. A symbolic link stays one: the file that it names is written. An existing file keeps its
            mode. What is no file, such as ``/dev/stdout`` or a pipe, is written to as it is.
        content: what to write; text is written as UTF-8, with line ends as they are.

    Raises:
        OSError: if the file cannot be written.
        UnicodeEncodeError: for text that UTF-8 does not have (lone surrogates); nothing is written then.

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
    r"""Open a file to write such that it holds all of what is written, or what it held before.

    It is `write_whole` for content that comes in pieces: the file is in its place when the block ends, and an error in
    the block leaves what was there.

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
    partial.unlink(missing_ok=True)  # what a kill has left
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    identity = _identity(os.fstat(descriptor))
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # of a descriptor
            if mode is not None:
                partial.chmod(stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        _must_be(partial, identity)
        partial.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            if _identity(partial.stat()) == identity:
                partial.unlink()
        raise


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Return whether two paths name one file: as the same path, through links, or where case makes no difference.

    Args:
        a: a path; nothing needs to be there.
        b: another.

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
    except (OSError, ValueError):  # no path at all: a NUL, a name that is too long
        return os.fspath(a) == os.fspath(b)


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file without links. What is no file keeps its path: a pipe may have no other.

    ``/dev/stdout`` is a link to ``pipe:[1234]``, by which it cannot be opened, where the output goes to a pipe.

    Args:
        path: a path; nothing needs to be there.
    """
    mode = _mode(path)
    if mode is None or stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return Path(os.path.realpath(path))
    return Path(path)


def partial_file(path: Path) -> Path:
    """Return the path of the temporary file, always the same one: what a kill leaves is replaced by the next try.

    Args:
        path: of the file that it becomes, without links.
    """
    name = f".{path.name}.partial"
    if len(os.fsencode(name)) > 255:  # the longest name of most file systems
        name = f".{path.name[:40]}.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.partial"
    return path.with_name(name)


def _must_be(partial: Path, identity: tuple[int, int]) -> None:
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
    """Return what is there of a path, the file itself or the last folder, and the names below that."""
    whole = Path(os.path.realpath(path))
    found = next(parent for parent in (whole, *whole.parents) if parent.exists())
    return found, whole.parts[len(found.parts) :]


def _folded(names: tuple[str, ...]) -> list[str]:
    return [unicodedata.normalize("NFC", name).casefold() for name in names]


def _ignores_case(folder: Path) -> bool:
    """Return whether the file system finds a folder, or one above it, by its name in the other case, too."""
    for path in (folder, *folder.parents):
        other = path.with_name(path.name.swapcase()) if path.name else path
        if other.name != path.name:
            return other.exists() and other.samefile(path)
    return os.name == "nt"
