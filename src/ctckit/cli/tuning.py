"""``ctckit decode --tune``: the progress, the tables, the picture, and the command line with the best weights."""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ctckit.cli.decode_options import Wanted
from ctckit.cli.streams import console, plain, say
from ctckit.corpus import CorpusError, DecodeTask
from ctckit.corpus.clashes import refuse_clashes
from ctckit.corpus.tuning import ErrorCounts, Tuning, tune
from ctckit.files import write_whole

__all__ = ["command_line", "tune_weights"]

_TAKEN_OUT: Final = {
    "--tune": 0, "--tune-by": 1, "--tune-lm-weight": 1, "--tune-word-bonus": 1, "--tune-plot": 1,
    "--lm-weight": 1, "--word-bonus": 1, "--beam": 1,
}  # fmt: skip
"""Options that the printed command line has not, or has anew; and the number of their values."""
_MARKS: Final = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}
_NAMES: Final = {"wer": "word error rate", "cer": "character error rate"}


def tune_weights(
    task: DecodeTask, manifest: Path, wanted: Wanted, arguments: Sequence[str], *, quiet: bool, limit: int | None,
    workers: int, ray: bool | str, **_unused: Any,
) -> int:  # fmt: skip
    """Find the best weights, show what they change, and print the command line with them; return the exit code."""
    if wanted.plot is not None:
        refuse_clashes(task, manifest, {"the plot": wanted.plot})
        _refuse_other_files(wanted.plot)
        import matplotlib  # noqa: F401, ICN001, PLC0415  # before hours of work
    with _progress(quiet=quiet) as watch:
        found = tune(
            task, manifest, by="wer" if wanted.by == "wer" else "cer", lm_weights=wanted.lm_weights,
            word_bonuses=wanted.word_bonuses, limit=limit, workers=workers, ray=ray, watch=watch,
            note=lambda message: say(Text(f"Warning: {plain(message)}"), style="yellow"),
        )  # fmt: skip
    if not quiet:
        _show(task, found)
    if found.at_edge:
        options = " and ".join(f"--tune-{name.replace('_', '-')}" for name in found.at_edge)
        say(Text(f"Warning: the best lies at the end of what was tried; see further with {options}"), style="yellow")
    if found.faults and not quiet:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.faults.items())
        say(Text(f"left out as bad: {kinds}; ctckit decode lists the reasons"), style="yellow")
    if wanted.plot is not None:
        _draw(task, found, wanted.plot)
        if not quiet:
            say(Text(f"the plot: {plain(str(wanted.plot))}"))
    print(command_line(arguments, found.task))
    return 1 if found.faults else 0


def command_line(arguments: Sequence[str], task: DecodeTask) -> str:
    """Return the command line that decodes with the weights of a task.

    Args:
        arguments: those of this command, from ``decode`` on.
        task: the task.

    >>> task = DecodeTask(vocabulary="v.json", lm="a b.arpa", lm_weight=0.75, word_bonus=-1.0, beam_width=32)
    >>> command_line(["decode", "items.jsonl", "--lm", "a b.arpa", "--tune", "--beam=16", "--tune-by", "cer"], task)
    "ctckit decode items.jsonl --lm 'a b.arpa' --lm-weight 0.75 --word-bonus -1 --beam 32"
    """
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, is_joined, _ = argument.partition("=")
        if name not in _TAKEN_OUT:
            kept.append(argument)
        elif _TAKEN_OUT[name] and not is_joined:
            next(rest, None)
    width = task.beam_width
    beam = str(width) if isinstance(width, int) else ":".join(map(str, width))
    weights = ["--lm-weight", f"{task.lm_weight:.6g}", "--word-bonus", f"{task.word_bonus:.6g}", "--beam", beam]
    return shlex.join(["ctckit", *kept, *weights])


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    terminal = console()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=terminal, disable=quiet or not terminal.is_terminal, transient=True) as bar:
        rows: dict[str, Any] = {}

        def watch(what: str, done: int, total: int) -> None:
            if what not in rows:
                rows[what] = bar.add_task(what, total=total)
            bar.update(rows[what], completed=done)

        yield watch


def _show(task: DecodeTask, found: Tuning) -> None:
    """Print what the weights change."""
    items = f"{found.items:,} item{'' if found.items == 1 else 's'} with a text, {found.before.words:,} words"
    table = Table(items, "LM weight", "word bonus", "beam", "WER", "CER")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, its, errors in (("given", task, found.before), ("best", found.task, found.after)):
        table.add_row(name, f"{its.lm_weight:.6g}", f"{its.word_bonus:.6g}", _width(its), *_rates(errors))
    say(table, soft_wrap=False)
    if len(found.widths) > 1:
        widths = Table("beam", "WER", "CER", caption="with the best weights")
        for column in widths.columns:
            column.justify = "right"
        for width, errors in found.widths.items():
            style = "bold" if width == found.task.beam_width else None
            widths.add_row(str(width), *_rates(errors), style=style)
        say(widths, soft_wrap=False)
    low, high = (100 * value for value in found.change)
    say(
        f"change of the {_NAMES[found.by]}: {100 * (found.after.rate(found.by) - found.before.rate(found.by)):+.2f} "
        f"points, 95% interval {low:+.2f} to {high:+.2f}. Weights fit these items best: measure them on others."
    )


def _width(task: DecodeTask) -> str:
    return str(task.beam_width) if isinstance(task.beam_width, int) else ":".join(map(str, task.beam_width))


def _rates(errors: ErrorCounts) -> tuple[str, str]:
    return f"{100 * errors.wer:.2f}%", f"{100 * errors.cer:.2f}%"


def _refuse_other_files(path: Path) -> None:
    """Raise an error if the picture cannot be written, or a file exists that is no such picture."""
    mark = _MARKS.get(path.suffix.lower())
    if mark is None:
        raise CorpusError(f"the plot is {str(path)!r}, but must be a {', '.join(_MARKS)} file")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise CorpusError(f"the plot cannot be written to {str(path)!r}: name a file in a folder that you may write to")
    if path.is_file():
        with path.open("rb") as file:
            beginning = file.read(len(mark))
        if beginning not in (b"", mark):
            raise CorpusError(f"{str(path)!r} exists, but is no {path.suffix} picture: name another file, or delete it")


def _draw(task: DecodeTask, found: Tuning, path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415  # optional
    from matplotlib.figure import Figure  # noqa: PLC0415

    from ctckit import plot  # noqa: PLC0415

    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    plot.error_rates(
        found.lm_weights, found.word_bonuses, found.error_rates, best=(found.task.lm_weight, found.task.word_bonus),
        given=(task.lm_weight, task.word_bonus), decoded=list(found.decoded), name=f"{_NAMES[found.by]}, estimated",
        ax=figure.add_subplot(),
    )  # fmt: skip
    picture = io.BytesIO()
    kind = path.suffix.lower()[1:]
    dated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    with mpl.rc_context({"svg.hashsalt": "ctckit"}):  # the same bytes for the same result
        figure.savefig(picture, format=kind, dpi=150, metadata=dated)
    write_whole(path, picture.getvalue())
