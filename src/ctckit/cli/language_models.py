"""``ctckit lm``: language models are read, described, and written as files that are ready at once."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

import ctckit
from ctckit.cli.streams import console, plain, say
from ctckit.corpus import CorpusError
from ctckit.corpus.decoders import load_lm
from ctckit.files import same_file

__all__ = ["compile_model", "show_model"]

_MARK = b"ctclm\n"


def compile_model(model: Path, output: Path, *, quiet: bool) -> int:
    """Write a model as a file that is ready at once; return the exit code.

    Raises:
        CorpusError: if the model cannot be read, or the file must not be replaced.
        OSError: if it cannot be written.
    """
    if same_file(model, output):
        raise CorpusError(f"the model and the output are the same file, {str(output)!r}: name another output")
    _refuse_other_files(output)
    found = _read(model, quiet=quiet)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        found.save(output)
    except ValueError as error:
        raise CorpusError(str(error)) from error
    if not quiet:
        say(_description(found, output), soft_wrap=False)
    return 0


def show_model(model: Path) -> int:
    """Print what a model holds; return the exit code.

    Raises:
        CorpusError: if the model cannot be read.
    """
    Console().print(_description(_read(model, quiet=False), model))
    return 0


def _read(model: Path, *, quiet: bool) -> ctckit.NGram:
    terminal = console()
    if quiet or not terminal.is_terminal:
        return load_lm(str(model))
    size = model.stat().st_size if model.is_file() else 0
    with terminal.status(Text(f"reading {plain(str(model))}, {_bytes(size)}")):
        return load_lm(str(model))


def _description(model: ctckit.NGram, file: Path) -> Table:
    size = file.stat().st_size
    table = Table()
    table.add_column(Text(plain(str(file))))
    table.add_column(f"order {model.order}", justify="right")
    table.add_column(f"{len(model):,} words", justify="right")
    for order, count in enumerate(model.counts, start=1):
        table.add_row(f"{order}-grams", f"{count:,}", "")
    total = sum(model.counts)
    table.add_section()
    table.add_row("all", f"{total:,}", f"{_bytes(size)}, {size / max(1, total):.1f} per n-gram")
    return table


def _bytes(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def _refuse_other_files(path: Path) -> None:
    """Raise an error if a file exists that is no compiled model."""
    if path.is_dir():
        raise CorpusError(f"the model cannot be written to {str(path)!r}: it is a folder")
    if not path.is_file():
        return
    with path.open("rb") as file:
        beginning = file.read(len(_MARK))
    if beginning and beginning != _MARK:
        raise CorpusError(f"{str(path)!r} exists, but is no compiled model: name another file, or delete it")
