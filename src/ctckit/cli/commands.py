"""Run the commands on manifests: results go to the standard output, messages to the standard error."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ctckit.cli.error_table import show_error_rates
from ctckit.cli.page_file import PageFile, refuse_other_files
from ctckit.cli.streams import console, plain, say, stdout_is_utf8
from ctckit.corpus import (
    AlignTask,
    CheckTask,
    DecodeTask,
    ErrorRates,
    Item,
    ItemWarning,
    LossTask,
    Outcome,
    Summary,
    Task,
    count_items,
    process,
)
from ctckit.corpus.clashes import refuse_clashes
from ctckit.corpus.pipeline import errors_file
from ctckit.corpus.results import read_results, result_line

__all__ = ["align", "check", "decode", "loss"]

_SHOWN = 20  # bad items listed on the terminal; a file lists all


def align(task: AlignTask, manifest: Path, **options: Any) -> int:
    """Align; write results, files and page; return the exit code."""
    return _write_items("aligned", task, manifest, **options)


def decode(task: DecodeTask, manifest: Path, *, worst: int, **options: Any) -> int:
    """Decode; write results, files and page; show error rates; return the exit code."""
    return _write_items("decoded", task, manifest, rates=ErrorRates(worst), **options)


def _write_items(
    what: str, task: Task, manifest: Path, *, output: Path | None, errors: Path | None, folder: Path | None,
    html: Path | None, html_items: int, html_any_audio: bool, quiet: bool, rates: ErrorRates | None = None,
    **options: Any,
) -> int:  # fmt: skip
    """Do a task; write results, files and page; show error rates; return the exit code."""
    errors = errors_file(output, errors)
    refuse_clashes(task, manifest, {"the results": output, "the errors": errors, "the page": html}, folder)
    page = PageFile(html_items if html is not None else 0)
    watch: list[Callable[[Outcome], None]] = [page.see]
    if rates is not None:
        watch.append(rates.see)
    if html is not None:
        refuse_other_files(html)
    if output is None and folder is None and html is None:
        digest, ascii_only = task.digest(), not stdout_is_utf8()
        watch.append(lambda outcome: _print_result(outcome, digest, ascii_only=ascii_only))
    bad = _BadItems()
    before: set[str] = set()
    with _progress(manifest, options.get("limit"), quiet=quiet) as (step, skip):

        def skipped(item: Item) -> None:
            page.skip(item)
            before.add(item.id)
            skip(item)

        summary = _process(
            task, manifest, output=output, errors=errors, folder=folder, watch=[*watch, bad.see, step],
            skipped=skipped, **options,
        )  # fmt: skip
    _print_summary(what, summary, bad, errors, quiet=quiet)
    if rates is not None and not quiet:
        for entry in _results_of(before, output):
            rates.add(entry["id"], entry)
        show_error_rates(rates)
    if html is not None:
        left_out = page.write(html, manifest, output, any_audio=html_any_audio)
        for reason in left_out or ():
            say(Text(f"the page has no audio where {plain(reason)}"), style="yellow")
        if left_out is not None and not quiet:
            say(Text(f"the page: {html}"))
    return 1 if summary.failed else 0


def _results_of(names: set[str], output: Path | None) -> Iterator[dict[str, Any]]:
    """Yield the results of an earlier run, by the ids of their items."""
    if names and output is not None:
        for entry in read_results(output):
            if entry["id"] in names:
                yield entry


def loss(
    task: LossTask, manifest: Path, *, output: Path | None, errors: Path | None, quiet: bool, **options: Any
) -> int:
    """Measure losses; write or print them and their mean; return the exit code."""
    errors = errors_file(output, errors)
    totals = _LossTotals()
    bad = _BadItems()
    skipped: set[str] = set()
    watch: list[Callable[[Outcome], None]] = [totals.see]
    if output is None:
        print("id\tloss\tloss per label\tframes\tlabels")
        watch.append(_print_loss)
    with _progress(manifest, options.get("limit"), quiet=quiet) as (step, skip):

        def skip_one(item: Item) -> None:
            skipped.add(item.id)
            skip(item)

        summary = _process(
            task, manifest, output=output, errors=errors, watch=[*watch, bad.see, step], skipped=skip_one, **options
        )
    for entry in _results_of(skipped, output):
        totals.add(entry)
    _print_summary("measured", summary, bad, errors, quiet=quiet)
    if totals.items and not quiet:
        say(
            f"mean loss {totals.loss / totals.items:.4f} nats per item, {totals.per_label / totals.items:.4f} per "
            f"label (torch's 'mean'), over {_count(totals.items, 'item')}"
        )
    return 1 if summary.failed else 0


def check(task: CheckTask, manifest: Path, *, errors: Path | None, quiet: bool, **options: Any) -> int:
    """List bad items; return the exit code."""
    found: list[Outcome] = []
    terminal = Console()
    is_table = terminal.is_terminal

    def see(outcome: Outcome) -> None:
        fault = outcome.fault
        if fault is None:
            return
        if not is_table:
            print("\t".join((plain(outcome.id), str(outcome.line), fault.kind, plain(" ".join(fault.message.split())))))
        elif len(found) < 10 * _SHOWN:
            found.append(outcome)

    with _progress(manifest, options.get("limit"), quiet=quiet) as (step, skip):
        summary = _process(task, manifest, errors=errors, watch=[see, step], skipped=skip, **options)
    if found:
        table = Table("item", "line", "kind", "what is wrong", caption=_unlisted(summary.failed - len(found), errors))
        for outcome in found:
            fault = outcome.fault
            if fault is not None:
                table.add_row(Text(plain(outcome.id)), str(outcome.line), fault.kind, Text(plain(fault.message)))
        terminal.print(table)
    if not quiet:
        kinds = ": " + _kinds(summary) if summary.failed else ""
        good = _count(summary.done, "good item")
        dropped = f"; {_count(summary.dropped, 'unknown word')} left out" if summary.dropped else ""
        say(f"{good}, {summary.failed:,} bad{kinds}{dropped} ({summary.seconds:.1f} s)")
    return 1 if summary.failed else 0


def _process(task: Task, manifest: Path, *, watch: list[Callable[[Outcome], None]], **options: Any) -> Summary:
    """Process the manifest, and warn once if items look wrong, and of what is wrong with the task."""
    warned = False
    said: set[str] = set()

    def warn(outcome: Outcome) -> None:
        nonlocal warned
        for note in outcome.notes:
            if note not in said:
                said.add(note)
                say(Text(f"Warning: {plain(note)}"), style="yellow")
        if outcome.warnings and not warned:
            warned = True
            say(Text(f"Warning: {plain(outcome.id)}: {plain(outcome.warnings[0])}"), style="yellow")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ItemWarning)
        return process(task, manifest, watch=[warn, *watch], **options)


class _BadItems:
    """The first few bad items, for the terminal."""

    def __init__(self) -> None:
        self.first: deque[Outcome] = deque()

    def see(self, outcome: Outcome) -> None:
        if outcome.fault is not None and len(self.first) < _SHOWN:
            self.first.append(outcome)


class _LossTotals:
    """Sums for the means."""

    def __init__(self) -> None:
        self.items, self.loss, self.per_label = 0, 0.0, 0.0

    def see(self, outcome: Outcome) -> None:
        if outcome.result is not None:
            self.add(outcome.result)

    def add(self, result: dict[str, Any]) -> None:
        self.items += 1
        self.loss += result["loss"]
        self.per_label += result["loss"] / max(1, result["labels"])


def _print_result(outcome: Outcome, digest: str, *, ascii_only: bool) -> None:
    if outcome.result is not None:
        sys.stdout.write(result_line(outcome, digest, ascii_only=ascii_only))
        sys.stdout.flush()


def _print_loss(outcome: Outcome) -> None:
    result = outcome.result
    if result is not None:
        per_label = result["loss"] / max(1, result["labels"])
        print(f"{plain(outcome.id)}\t{result['loss']:.4f}\t{per_label:.4f}\t{result['frames']}\t{result['labels']}")


@contextmanager
def _progress(
    manifest: Path, limit: int | None, *, quiet: bool
) -> Iterator[tuple[Callable[[Outcome], None], Callable[[Item], None]]]:
    """Show a progress bar; yield a function to call for each item done, and one for each item skipped."""
    terminal = console()
    total = count_items(manifest)
    total = total if limit is None else min(limit, total)
    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[bad]}"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=terminal, disable=quiet or not terminal.is_terminal, transient=True) as bar:
        row = bar.add_task("", total=total, bad="")
        bad = 0

        def step(outcome: Outcome) -> None:
            nonlocal bad
            bad += outcome.fault is not None
            bar.update(row, advance=1, bad=f"[red]{bad:,} bad" if bad else "")

        yield step, lambda _: bar.advance(row)


def _print_summary(what: str, summary: Summary, bad: _BadItems, errors: Path | None, *, quiet: bool) -> None:
    if errors is None:  # otherwise the file lists them
        for outcome in bad.first:
            if outcome.fault is not None:
                text = f"{plain(outcome.id)} (line {outcome.line}): {plain(outcome.fault.message)}"
                say(Text(text), style="yellow")
        if caption := _unlisted(summary.failed - len(bad.first), None):
            say(caption, style="yellow")
    if quiet:
        return
    speed = summary.done / summary.seconds if summary.seconds else 0.0
    parts = [f"{what} {_count(summary.done, 'item')} in {summary.seconds:.1f} s ({speed:,.0f} per second)"]
    if summary.redone:
        parts.append(f"{summary.redone:,} redone because their inputs changed")
    if summary.skipped:
        parts.append(f"{summary.skipped:,} done before")
    if summary.failed:
        parts.append(f"{summary.failed:,} bad: {_kinds(summary)}" + (f", see {errors}" if errors else ""))
    if summary.stale:
        parts.append(f"{_count(summary.stale, 'result')} of earlier inputs kept, marked stale")
    if summary.absent:
        parts.append(f"{_count(summary.absent, 'result')} kept of items that are not in the manifest")
    if summary.dropped:
        parts.append(f"{_count(summary.dropped, 'unknown word')} left out")
    if summary.warned:
        parts.append(f"{_count(summary.warned, 'item')} with implausible emissions (ctckit check lists them)")
    say(Text("; ".join(parts)))


def _kinds(summary: Summary) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in summary.faults.most_common())


def _unlisted(count: int, file: Path | None) -> str | None:
    if count <= 0:
        return None
    return f"and {count:,} more: " + (f"see {file}" if file else "--errors or --output FILE lists all")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
