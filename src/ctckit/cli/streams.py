"""The standard streams: no character, and no stream that is closed or full, ends a run."""

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

__all__ = ["any_character", "console", "give_up_stdout", "plain", "say", "stdout_is_utf8"]

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@contextlib.contextmanager
def any_character() -> Iterator[None]:
    """Let the standard output take any character (what its encoding lacks is escaped), and be there if it is closed."""
    if sys.stdout is None:  # what mypy does not know: Python's answer to a stream that is closed
        sys.stdout = _nowhere(1)
    if sys.stderr is None:
        sys.stderr = _nowhere(2)
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


def _nowhere(descriptor: int) -> TextIO:
    """Open nothing in the place of a closed stream, so that no file of ours gets its number, and is printed to."""
    stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # for as long as the process lives
    with contextlib.suppress(OSError):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(stream.fileno(), descriptor)
    return stream


def give_up_stdout() -> None:
    """Let what is printed from now on go nowhere, or Python complains of a closed or full stream while it exits."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


def stdout_is_utf8() -> bool:
    """Return whether the standard output takes any character as it is."""
    try:
        return codecs.lookup(sys.stdout.encoding or "").name.startswith("utf-8")
    except (LookupError, AttributeError):
        return False


def plain(text: str) -> str:
    r"""Escape control characters, which would tear a table, or do something to the terminal.

    >>> plain("a\tb\x1b[2J")
    'a\\tb\\x1b[2J'
    """
    return _CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)


def console() -> Console:
    """Return the terminal for all but results."""
    return Console(stderr=True, soft_wrap=True)


def say(message: RenderableType, style: str | None = None) -> None:
    """Print to the standard error, if that is possible."""
    with contextlib.suppress(OSError, ValueError):
        console().print(message, style=style, highlight=False)
