"""What the commands on manifests do and show: results on the standard output, all else on the standard error."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ctckit.corpus import AlignTask, CheckTask, Item, LossTask, Outcome, Summary, count_items, process, read_manifest
from ctckit.corpus.results import result_line
from ctckit.page import PageItem, write_page

__all__ = ["align", "check", "loss"]

_SHOWN = 20  # bad items listed on the terminal; files have them all


def align(
    task: AlignTask, manifest: Path, *, output: Path | None, folder: Path | None, html: Path | None, html_items: int,
    quiet: bool, **options: Any,
) -> int:  # fmt: skip
    """Align, write results, files and page; return what to exit with."""
    page = _Page(html_items if html is not None else 0)
    watch: list[Callable[[Outcome], None]] = [page.see]
    if output is None and folder is None and html is None:
        digest = task.digest()
        watch.append(lambda outcome: _print_result(outcome, digest))
    bad = _Bad()
    with _progress(manifest, options.get("limit"), quiet=quiet) as (step, skip):

        def skipped(item: Item) -> None:
            page.skip(item)
            skip(item)

        summary = process(
            task, manifest, output, folder=folder, watch=[*watch, bad.see, step],
            skipped=skipped, **options,
        )  # fmt: skip
    _conclude("aligned", summary, bad, _errors_file(output, options), quiet=quiet)
    if html is not None and page.write(html, manifest, output) and not quiet:
        _error().print(f"the page: {html}", highlight=False)
    return 1 if summary.failed else 0


def loss(task: LossTask, manifest: Path, *, output: Path | None, quiet: bool, **options: Any) -> int:
    """Measure losses, write or print them and their mean; return what to exit with."""
    totals = _Losses()
    bad = _Bad()
    watch: list[Callable[[Outcome], None]] = [totals.see]
    if output is None:
        print("id\tloss\tloss per label\tframes\tlabels")
        watch.append(_print_loss)
    with _progress(manifest, options.get("limit"), quiet=quiet) as (step, skip):
        summary = process(task, manifest, output, watch=[*watch, bad.see, step], skipped=skip, **options)
    if summary.skipped and output is not None:
        totals = _Losses()
        with output.open(encoding="utf-8") as lines:
            for line in lines:
                totals.add(json.loads(line))
    _conclude("measured", summary, bad, _errors_file(output, options), quiet=quiet)
    if totals.items and not quiet:
        _error().print(
            f"mean loss {totals.loss / totals.items:.4f} nats per item, {totals.per_label / totals.items:.4f} per "
            f"label (torch's 'mean'), over {_count(totals.items, 'item')}",
            highlight=False,
        )
    return 1 if summary.failed else 0


def check(task: CheckTask, manifest: Path, *, errors: Path | None, quiet: bool, **options: Any) -> int:
    """List what is wrong; return what to exit with."""
    found: list[Outcome] = []
    console = Console()
    plain = not console.is_terminal

    def see(outcome: Outcome) -> None:
        if outcome.fault is None:
            return
        if plain:
            print(
                "\t".join((outcome.id, str(outcome.line), outcome.fault.kind, " ".join(outcome.fault.message.split())))
            )
        elif len(found) < 10 * _SHOWN:
            found.append(outcome)

    with _progress(manifest, options.get("limit"), quiet=quiet) as (step, skip):
        summary = process(task, manifest, errors=errors, watch=[see, step], skipped=skip, **options)
    if found:
        table = Table("item", "line", "kind", "what is wrong", caption=_left_out(summary.failed - len(found), errors))
        for outcome in found:
            fault = outcome.fault
            if fault is not None:
                table.add_row(Text(outcome.id), str(outcome.line), fault.kind, Text(fault.message))
        console.print(table)
    if not quiet:
        kinds = ": " + _kinds(summary) if summary.failed else ""
        good = _count(summary.done, "good item")
        _error().print(f"{good}, {summary.failed:,} bad{kinds} ({summary.seconds:.1f} s)", highlight=False)
    return 1 if summary.failed else 0


class _Bad:
    """The first few bad items, for the terminal."""

    def __init__(self) -> None:
        self.first: deque[Outcome] = deque()

    def see(self, outcome: Outcome) -> None:
        if outcome.fault is not None and len(self.first) < _SHOWN:
            self.first.append(outcome)


class _Losses:
    """Sums, of which means are made."""

    def __init__(self) -> None:
        self.items, self.loss, self.per_label = 0, 0.0, 0.0

    def see(self, outcome: Outcome) -> None:
        if outcome.result is not None:
            self.add(outcome.result)

    def add(self, result: dict[str, Any]) -> None:
        self.items += 1
        self.loss += result["loss"]
        self.per_label += result["loss"] / max(1, result["labels"])


class _Page:
    """The first few alignments, for the page; those of an earlier run are read from its results."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.alignments: dict[str, dict[str, Any] | None] = {}

    def see(self, outcome: Outcome) -> None:
        if outcome.result is not None and len(self.alignments) < self.count:
            self.alignments[outcome.id] = outcome.result

    def skip(self, item: Item) -> None:
        if len(self.alignments) < self.count:
            self.alignments[item.id] = None

    def write(self, path: Path, manifest: Path, output: Path | None) -> bool:
        """Write the page, if there is anything to show."""
        wanted = {name for name, alignment in self.alignments.items() if alignment is None}
        if wanted and output is not None:
            with output.open(encoding="utf-8") as lines:
                for line in lines:
                    entry = json.loads(line)
                    if entry["id"] in wanted:
                        self.alignments[entry["id"]] = entry
        audio: dict[str, str | None] = {}
        for item in read_manifest(manifest):
            if item.id in self.alignments:
                audio[item.id] = item.audio
                if len(audio) == len(self.alignments):
                    break
        shown = [
            PageItem(alignment, name, audio.get(name))
            for name, alignment in self.alignments.items()
            if alignment is not None
        ]
        if shown:
            write_page(path, shown, title=manifest.stem if len(shown) > 1 else f"{manifest.stem}: {shown[0].name}")
        return bool(shown)


def _print_result(outcome: Outcome, digest: str) -> None:
    if outcome.result is not None:
        sys.stdout.write(result_line(outcome, digest))
        sys.stdout.flush()


def _print_loss(outcome: Outcome) -> None:
    result = outcome.result
    if result is not None:
        per_label = result["loss"] / max(1, result["labels"])
        print(f"{outcome.id}\t{result['loss']:.4f}\t{per_label:.4f}\t{result['frames']}\t{result['labels']}")


@contextmanager
def _progress(
    manifest: Path, limit: int | None, *, quiet: bool
) -> Iterator[tuple[Callable[[Outcome], None], Callable[[Item], None]]]:
    """Show a bar while it lasts; yield what to call for an item done, and for one skipped."""
    console = _error()
    total = count_items(manifest)
    total = total if limit is None else min(limit, total)
    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[bad]}"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        row = bar.add_task("", total=total, bad="")
        bad = 0

        def step(outcome: Outcome) -> None:
            nonlocal bad
            bad += outcome.fault is not None
            bar.update(row, advance=1, bad=f"[red]{bad:,} bad" if bad else "")

        yield step, lambda _: bar.advance(row)


def _conclude(what: str, summary: Summary, bad: _Bad, errors: Path | None, *, quiet: bool) -> None:
    console = _error()
    if errors is None:  # then this is the only place that says so
        for outcome in bad.first:
            if outcome.fault is not None:
                console.print(Text(f"{outcome.id} (line {outcome.line}): {outcome.fault.message}"), style="yellow")
        if caption := _left_out(summary.failed - len(bad.first), None):
            console.print(caption, style="yellow")
    if quiet:
        return
    speed = summary.done / summary.seconds if summary.seconds else 0.0
    parts = [f"{what} {_count(summary.done, 'item')} in {summary.seconds:.1f} s ({speed:,.0f} per second)"]
    if summary.skipped:
        parts.append(f"{summary.skipped:,} done before")
    if summary.failed:
        parts.append(f"{summary.failed:,} bad: {_kinds(summary)}" + (f", see {errors}" if errors else ""))
    console.print(Text("; ".join(parts)))


def _errors_file(output: Path | None, options: dict[str, Any]) -> Path | None:
    given: Path | None = options.get("errors")
    return given or (output.with_suffix(".errors.jsonl") if output is not None else None)


def _kinds(summary: Summary) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in summary.faults.most_common())


def _left_out(count: int, file: Path | None) -> str | None:
    if count <= 0:
        return None
    return f"and {count:,} more: " + (f"see {file}" if file else "--errors or --output FILE lists all")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _error() -> Console:
    return Console(stderr=True, soft_wrap=True)
