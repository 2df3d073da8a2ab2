"""The search for the weights of a language model with which a corpus has the fewest errors.

The error rate is no smooth function of the weights, and decoding takes long. So the items are decoded with a few
weights, and all prefixes of the final beams are kept. A table of error rates is filled by ranking these hypotheses anew
for each pair of weights. The items are decoded with the best pair, which adds hypotheses, until the best pair has been
decoded with (as in minimum error rate training, Och 2003). Then the neighbours of the best pair are decoded with, until
none is better. Reported are the errors of decodings, never those of the table.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ctckit.corpus.decode_task import DecodeTask
from ctckit.corpus.errors import CorpusError
from ctckit.corpus.hypothesis_pool import Floats
from ctckit.corpus.manifest import Item, read_manifest
from ctckit.corpus.pipeline import runner
from ctckit.corpus.weight_search import By, ErrorCounts, WeightGrid, WeightSearch, find_weights
from ctckit.corpus.weight_task import WeightPoint, WeightTask
from ctckit.decoding.knowledge import Weights

__all__ = ["ErrorCounts", "Tuning", "tune"]

_LEAST_SPAN: Final = 0.01


@dataclass(frozen=True, eq=False)
class Tuning:
    """The result of `tune`."""

    task: DecodeTask
    """The task with the best weights and width."""
    by: By
    """The error rate that was lowered."""
    items: int
    """How many items count: those with a text that could be decoded."""
    faults: dict[str, int]
    """How many items with a text could not be decoded, by the kind of their fault; and lines that are no items."""
    before: ErrorCounts
    """The errors with the weights and the width of the given task."""
    after: ErrorCounts
    """The errors with the best ones."""
    change: tuple[float, float]
    """A 95% interval of the change of the error rate, from 1,000 samples of the items (bootstrap)."""
    widths: dict[int, ErrorCounts]
    """The errors with the best weights, for each width that was tried."""
    decoded: dict[tuple[float, float], ErrorCounts]
    """The weights and bonuses that were decoded with, in order, and their errors with the given width."""
    lm_weights: Floats
    """(A,) the weights of the table."""
    word_bonuses: Floats
    """(B,) the bonuses of the table."""
    error_rates: Floats
    """(A, B) the error rates of the table, from ranking anew: an estimate, which knows no errors of the search."""
    at_edge: tuple[str, ...]
    """Which of lm_weight and word_bonus lie at the end of what was tried: better ones may lie beyond."""


def tune(
    task: DecodeTask,
    manifest: str | Path,
    *,
    by: By = "wer",
    lm_weights: tuple[float, float] = (0.0, 3.0),
    word_bonuses: tuple[float, float] = (-3.0, 6.0),
    beam_widths: Sequence[int] | None = None,
    limit: int | None = None,
    workers: int = 1,
    ray: bool | str = False,
    watch: Callable[[str, int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Tuning:
    """Find the weight of the language model, the word bonus and the beam with the lowest error rate.

    The error rate of the items that weights are chosen by is lower than that of others: choose them by a development
    set, and report another one.

    Args:
        task: a task with an `lm`. The search starts at its weights.
        manifest: path of the manifest. Its items with a text (or tokens) count.
        by: "wer" for words, "cer" for characters: the rate to lower.
        lm_weights: the least and the largest weight to try.
        word_bonuses: the least and the largest bonus to try, in nats.
        beam_widths: the widths to try with the best weights. The smallest one is taken whose errors are not more than
            the least by more than one standard error. None for half, once, twice and four times the task's width.
        limit: number of items of the manifest to use, from the first; None for all.
        workers: see `ctckit.corpus.run`. Results do not depend on it.
        ray: see `ctckit.corpus.run`.
        watch: function to call with what is done, the items done of it, and all of them.
        note: function to call with each warning about the task.

    Raises:
        CorpusError: for an error that every item has; for a task without an `lm` or with ``greedy``; if no item has a
            text; for ranges without values.
    """
    start = _start_of(task, by, lm_weights, word_bonuses)
    grid = WeightGrid.of(lm_weights, word_bonuses)
    widths = _widths_to_try(task, beam_widths)
    faults: Counter[str] = Counter()
    items = _items_with_texts(manifest, limit, faults)
    column = 0 if by == "wer" else 1
    plain = {field.name: getattr(task, field.name) for field in dataclasses.fields(DecodeTask)}
    job = WeightTask(**plain | {"alignment": False, "formats": (), "error_rates": True})
    with runner(job, workers=workers, ray=ray) as do:
        search = WeightSearch(do, items, watch or (lambda *_: None), note or (lambda _: None), faults)
        chosen = find_weights(search, start, grid, column)
        tried = [chosen._replace(beam_width=width) for width in widths]
        search.confirm("confirmation", [start, *(tried or [chosen])])
    best = _narrowest(search, tried, column) if tried else chosen
    after = search.counts_of(best)
    return Tuning(
        task=dataclasses.replace(task, **best._asdict()),
        by=by,
        items=len(search.good),
        faults=dict(faults),
        before=search.counts_of(start),
        after=after,
        change=search.interval(start, best, column),
        widths={width: search.counts_of(point) for width, point in zip(widths, tried, strict=True)},
        decoded={point[:2]: search.counts_of(point, kept=True) for point in search.points},
        lm_weights=grid.lm_weights,
        word_bonuses=grid.word_bonuses,
        error_rates=search.table(grid)[..., column] / (after.words if by == "wer" else after.characters),
        at_edge=_edges(best, lm_weights, word_bonuses),
    )


def _items_with_texts(manifest: str | Path, limit: int | None, faults: Counter[str]) -> list[Item]:
    found: list[Item] = []
    for item in itertools.islice(read_manifest(manifest), limit):
        if item.fault is not None:
            faults["manifest"] += 1
        elif item.text is not None or item.tokens is not None:
            found.append(item)
    if not found:
        raise CorpusError(f"no item of {str(manifest)!r} has a text to compare with: weights are chosen by errors")
    return found


def _start_of(task: DecodeTask, by: str, *spans: tuple[float, float]) -> WeightPoint:
    """Check the arguments, and return the point to start at."""
    if task.lm is None:
        raise CorpusError("tuning finds the weights of a language model: name one (--lm FILE)")
    if task.greedy:
        raise CorpusError("greedy decoding has no weights to tune: leave out greedy")
    if by not in ("wer", "cer"):
        raise CorpusError(f"by is {by!r}, but must be 'wer' or 'cer'")
    for name, (low, high) in zip(("lm_weight", "word_bonus"), spans, strict=True):
        if not high - low >= _LEAST_SPAN:
            raise CorpusError(
                f"{name} is to be from {low:g} to {high:g}, but the second must be larger, by {_LEAST_SPAN} at least"
            )
    try:
        for weights in zip(*spans, strict=True):
            Weights(*weights).check()
    except (ValueError, TypeError) as error:
        raise CorpusError(f"values to try: {error}") from None
    width: Any = tuple(task.beam_width) if isinstance(task.beam_width, (tuple, list)) else task.beam_width
    return WeightPoint(float(task.lm_weight), float(task.word_bonus), width)


def _widths_to_try(task: DecodeTask, given: Sequence[int] | None) -> list[int]:
    width = task.beam_width
    if given is None:
        if isinstance(width, (tuple, list)):
            return []
        given = (max(task.nbest, width // 2), width, 2 * width, 4 * width)
    for one in given:
        dataclasses.replace(task, beam_width=one)  # checks it
    return sorted(set(given))


def _narrowest(search: WeightSearch, tried: list[WeightPoint], column: int) -> WeightPoint:
    """Return the point of the smallest width that is not worse than the best one."""
    best = min(tried, key=lambda point: search.errors_of(point)[:, column].sum())
    return next(point for point in tried if not search.is_worse(point, best, column))


def _edges(chosen: WeightPoint, lm_weights: tuple[float, float], word_bonuses: tuple[float, float]) -> tuple[str, ...]:
    found = ["lm_weight"] if chosen.lm_weight == lm_weights[1] or 0 < chosen.lm_weight == lm_weights[0] else []
    return (*found, *(["word_bonus"] if chosen.word_bonus in word_bonuses else []))
