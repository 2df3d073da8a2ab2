"""The standard streams: an unencodable character, or a closed or full stream, must not end a run."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, RenderableType

__all__ = ["console", "discard_stdout", "escaped_output", "plain", "say", "stdout_is_utf8"]

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@contextlib.contextmanager
def escaped_output() -> Iterator[None]:
    """Escape characters that the standard output cannot encode, and open the null device for a closed stream."""
    if sys.stdout is None:  # Python does this for a closed stream; mypy does not know it
        sys.stdout = _null_stream(1)
    if sys.stderr is None:
        sys.stderr = _null_stream(2)
    stream = sys.stdout
    errors = stream.errors
    if not isinstance(stream, io.TextIOWrapper) or errors == "backslashreplace":
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(errors=errors)


def _null_stream(descriptor: int) -> TextIO:
    """Open the null device with the number of a closed stream.

    Otherwise the next file that is opened would get this number, and messages would be printed into it.
    """
    stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # open until the process ends
    with contextlib.suppress(OSError):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(stream.fileno(), descriptor)
    return stream


def discard_stdout() -> None:
    """Redirect the standard output to the null device: otherwise Python fails to flush it at exit."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


def stdout_is_utf8() -> bool:
    """Return whether the standard output can encode every character."""
    try:
        return codecs.lookup(sys.stdout.encoding or "").name.startswith("utf-8")
    except (LookupError, AttributeError):
        return False


def plain(text: str) -> str:
    r"""Escape control characters, which would break a table or control the terminal.

    >>> plain("a\tb\x1b[2J")
    'a\\tb\\x1b[2J'
    """
    return _CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)


def console() -> Console:
    """Return the console on the standard error, for everything but results."""
    return Console(stderr=True, soft_wrap=True)


def say(message: RenderableType, style: str | None = None, *, soft_wrap: bool = True) -> None:
    """Print to the standard error; ignore a closed or full stream. A table is fitted without `soft_wrap`."""
    with contextlib.suppress(OSError, ValueError):
        console().print(message, style=style, highlight=False, soft_wrap=soft_wrap)
