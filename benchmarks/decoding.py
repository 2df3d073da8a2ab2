"""How fast is the beam search, and how probable is what it finds, beside other decoders and with wider beams?"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein

import ctckit
from benchmarks import cases, decoding_calls, emission_sets
from benchmarks.decoding_calls import CLASS_NATS, DECODERS, PREFIX_NATS, Search, decode_all, prunes
from benchmarks.process import Process, ProcessError
from benchmarks.timing import Call, awake, compare, in_turn, once, percentiles

if TYPE_CHECKING:
    from benchmarks.emission_sets import EmissionSet
    from benchmarks.settings import Row, Settings
    from benchmarks.timing import Effort

WIDTHS = {
    "peaked letters": (10, 100, 500),
    "flat letters": (10, 100, 500),
    "long letters": (10, 100),
    "short letters": (10, 100),
    "pieces": (10, 100),
    "speech phones": (10, 100, 500),
    "speech phones, pruned": (10, 100, 500),
    "noisy lines": (10, 100),
}
PRUNED = ("speech phones, pruned",)
BATCHES = ("peaked letters", "flat letters", "speech phones")
BATCH, BATCH_WIDTH = 32, 100
REAL = ("speech phones", "clean lines", "noisy lines", "noisy Chinese lines", "captchas")
OUR_WIDTHS = tuple(2**k for k in range(10))
THEIR_WIDTHS = (4, 16, 64, 256)
SECONDS = 40  # for all items of a case
EQUAL = 1e-3  # nats: a hypothesis that is less probable by less is as good
LARGE = 1000  # classes: beyond this, searches that are not pruned take seconds for a line of text
LEAST_SIGNAL = 100_000  # emissions: a shorter signal is repeated, so that not the call is measured
QUICK_ITEMS = 2


class Found(NamedTuple):
    """What a decoder found in a set, judged."""

    loss: float  # mean of -log P of the best hypothesis, nats
    error_rate: float  # edits per label


def measure(settings: Settings) -> Iterator[Row]:
    """Every case: the search beside others, then the greedy path, then a batch on more threads."""
    chosen = settings.among({name: cases.DECODING[name] for name in WIDTHS})
    for case in chosen:
        emissions = _emissions(case, settings)
        out: dict[str, str] = {}  # peers that failed, and why: they do not get a wider beam
        for width in WIDTHS[case.name][: 1 if settings.quick else None]:
            rows = list(_beside(case, width, emissions, settings, settings.effort(3.0, 3), out))
            yield from judged(rows, case)
            yield _search_alone(case, width, emissions, settings.effort(1.0, 3))
    for case in settings.among({name: cases.DECODING[name] for name in (*WIDTHS, *REAL) if name not in PRUNED}):
        yield _greedy(case, _emissions(case, settings), settings.effort(0.5, 5))
    for case in settings.among({name: cases.DECODING[name] for name in BATCHES}):
        for threads in settings.threads:
            if threads > 1:
                yield _batch(case, threads, settings.effort(1.0, 5))


def widths(settings: Settings) -> Iterator[Row]:
    """Real emissions: time, probability and errors against the width, of ctckit and of others."""
    effort = settings.effort(0.5, 3)
    for case in settings.among({name: cases.DECODING[name] for name in REAL}):
        emissions = _emissions(case, settings)
        for width in OUR_WIDTHS[:2] if settings.quick else OUR_WIDTHS:
            torch.set_num_threads(1)
            ours = Ours(case, width, emissions)
            times = in_turn([Call(ours)], effort)[:, 0]
            results = ours()
            found = judge(emissions, [list(result.tokens) for result in results])
            row = {"case": case.name, "who": "ctckit", "beam_width": width, "ms": _each(times * 1e3, emissions)}
            yield row | found._asdict() | {"certified": _certified(results)}
        out: dict[str, str] = {}
        for width in THEIR_WIDTHS[:1] if settings.quick else THEIR_WIDTHS:
            for row in _beside(case, width, emissions, settings, effort, out):
                shown = {"case": case.name, "who": row["peer"], "beam_width": width}
                if "problem" in row:
                    yield shown | {"problem": row["problem"]}
                else:
                    yield shown | {"ms": row["first_ms"], "loss": row["loss"], "error_rate": row["error_rate"]}


class Ours:
    """ctckit's search of all items: in one call for the padded batch, or one item after another."""

    def __init__(
        self, case: cases.Case, width: int, emissions: EmissionSet, *, one_by_one: bool = False, **more: object
    ) -> None:
        self.items = [torch.from_numpy(item) for item in emissions.items]
        self.batch = None if one_by_one else padded(self.items)
        self.options: dict[str, Any] = {"beam_width": width, **more}
        if case.name in PRUNED:
            self.options |= {"beam_threshold": PREFIX_NATS, "token_threshold": math.exp(CLASS_NATS)}

    def __call__(self) -> list[Any]:
        """Decode."""
        search: Callable[..., Any] = ctckit.beam_search
        if self.batch is not None:
            found: list[Any] = search(*self.batch, **self.options)
            return found
        return decode_all(lambda item: search(item, **self.options), self.items)


def padded(items: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch (N, T, C), and the frames of each item."""
    lengths = torch.tensor([len(item) for item in items])
    return torch.nn.utils.rnn.pad_sequence(list(items), batch_first=True), lengths


def judge(emissions: EmissionSet, found: Sequence[Sequence[int]]) -> Found:
    """How probable the hypotheses are, by the exact loss in float64, and how far they are from what the items say."""
    losses = [_loss(item, labels) for item, labels in zip(emissions.items, found, strict=True)]
    edits = sum(Levenshtein.distance(labels, target) for labels, target in zip(found, emissions.targets, strict=True))
    return Found(float(np.mean(losses)), edits / sum(map(len, emissions.targets)))


def _loss(item: np.ndarray, labels: Sequence[int]) -> float:
    x = torch.from_numpy(item).double()[:, None]
    lengths = torch.tensor([len(item)]), torch.tensor([len(labels)])
    target = torch.tensor([list(labels)], dtype=torch.int64)
    return float(ctckit.ctc_loss(x, target, *lengths, reduction="none"))


def judged(rows: Sequence[Row], case: cases.Case) -> Iterator[Row]:
    """Say of each peer whether the goal counts beside it: whether its hypotheses are as probable as ours.

    With many classes all count, since only those finish that are pruned, and they find worse hypotheses. With few, a
    peer that is pruned does not count: a case of its own compares it with a search that is pruned, too. There, a peer
    does not count that leaves out classes alone, but must be beaten.
    """
    able = [row for row in rows if "ratio" in row]
    does_less = [row for row in able if case.name in PRUNED and row["peer"] in decoding_calls.PRUNE_CLASSES_ALONE]
    fair = [row for row in able if row not in does_less and (case.C >= LARGE or not prunes(row["peer"]))]
    equal = [row for row in fair if case.C >= LARGE or row["worse_by"] >= -EQUAL]
    for row in rows:
        judgement = {
            "counts": row in (equal or fair),
            "does_less": row in does_less,
            "is_comparable": row in does_less or row in fair,
        }
        yield row | judgement if "ratio" in row else row


def _emissions(case: cases.Case, settings: Settings) -> EmissionSet:
    emissions = emission_sets.make(case)
    return emissions.first(QUICK_ITEMS) if settings.quick else emissions


def _beside(
    case: cases.Case, width: int, emissions: EmissionSet, settings: Settings, effort: Effort, out: dict[str, str]
) -> Iterator[Row]:
    """Each peer in turn with ctckit; one that failed at a smaller width is not asked again."""
    torch.set_num_threads(1)
    is_pruned = case.name in PRUNED
    search = Search(width, PREFIX_NATS, CLASS_NATS) if is_pruned else Search(width)
    ours = Ours(case, width, emissions, rescore=False)  # no peer computes exact scores
    mine = judge(emissions, [list(result.tokens) for result in ours()])
    for peer, python in settings.peers.items():
        if peer not in DECODERS or (is_pruned and (prunes(peer) or peer in decoding_calls.CANNOT_PRUNE)):
            continue
        row: Row = {"peer": peer, "case": case.name, "beam_width": width}
        if peer in out:
            yield row | {"problem": out[peer]}
            continue
        serve = "benchmarks.decoding_calls:serve", peer, asdict(case), search, len(emissions.items)
        try:
            with Process(*serve, seconds=SECONDS, python=python, quiet=True) as process:
                measured = meet(process, ours, emissions, effort)
                theirs = judge(emissions, process.ask(classes=True))
        except ProcessError as problem:
            out[peer] = f"at width {width}: {problem}"
            yield row | {"problem": out[peer]}
            continue
        yield row | measured | theirs._asdict() | {"our_loss": mine.loss, "worse_by": mine.loss - theirs.loss}


def meet(peer: Process, ours: Callable[[], object], emissions: EmissionSet, effort: Effort) -> Row:
    """Time a peer in turn with ctckit."""
    loaded = peer.ask()
    if loaded["checksum"] != emission_sets.checksum(emissions):
        raise ProcessError("its NumPy makes other emissions")
    mine = Call(lambda: awake(Call(ours))[1])
    measured = compare(Call(peer.ask), mine, effort, warm=True)  # both have been called
    return {"version": loaded["version"], **per_item(measured, emissions)}


def _search_alone(case: cases.Case, width: int, emissions: EmissionSet, effort: Effort) -> Row:
    """With and without the exact score of what it found; in one call, and in a call for each item."""
    torch.set_num_threads(1)
    ours = Ours(case, width, emissions)
    found = judge(emissions, [list(result.tokens) for result in ours()])
    alone = Call(Ours(case, width, emissions, rescore=False))
    measured = compare(Call(ours), alone, effort)
    calls = compare(Call(Ours(case, width, emissions, rescore=False, one_by_one=True)), alone, effort)
    row = {"who": "without the exact score", "case": case.name, "beam_width": width}
    call_ms = per_item(calls, emissions)["first_ms"]
    return row | per_item(measured, emissions) | found._asdict() | {"call_ms": call_ms}


def _greedy(case: cases.Case, emissions: EmissionSet, effort: Effort) -> Row:
    """The greedy path, beside NumPy's argmax of every frame: of all items as one signal, and of one item."""
    torch.set_num_threads(1)
    decode: Callable[..., Any] = ctckit.greedy_decode
    greedy = [list(decode(torch.from_numpy(item)).tokens) for item in emissions.items]
    assert greedy == [_collapsed(item.argmax(axis=1)) for item in emissions.items]
    signal = np.concatenate(emissions.items)
    signal = np.concatenate([signal] * math.ceil(LEAST_SIGNAL / signal.size))
    whole, one = torch.from_numpy(signal), torch.from_numpy(emissions.items[0])
    measured = compare(Call(lambda: decode(whole)), Call(lambda: signal.argmax(axis=1)), effort)
    call_ms = percentiles(in_turn([Call(lambda: decode(one))], effort)[:, 0] * 1e3)
    row = {"who": "greedy", "case": case.name, "frames": len(signal), "call_ms": call_ms, "call_frames": len(one)}
    return row | measured | judge(emissions, greedy)._asdict()


def _collapsed(path: np.ndarray) -> list[int]:
    changes = path[np.flatnonzero(np.diff(path, prepend=-1))]
    return [int(c) for c in changes if c != cases.BLANK]


def _batch(case: cases.Case, threads: int, effort: Effort) -> Row:
    """One call for a batch, on one thread and on more."""
    items = emission_sets.make(replace(case, N=max(case.N, BATCH))).items[:BATCH]
    batch, lengths = padded([torch.from_numpy(item) for item in items])
    search: Callable[..., Any] = ctckit.beam_search
    run = Call(lambda: search(batch, lengths, beam_width=BATCH_WIDTH))
    once(run)
    one, more = (run._replace(reset=functools.partial(torch.set_num_threads, count)) for count in (1, threads))
    measured = compare(one, more, effort)
    return {"who": "batch", "case": case.name, "beam_width": BATCH_WIDTH, "threads": threads, **measured}


def _certified(results: Sequence[Any]) -> float | None:
    """The share of items whose best hypothesis is proved to be the most probable labelling; None if nothing is said."""
    said = [getattr(result, "certified", None) for result in results]
    return None if all(certain is None for certain in said) else sum(map(bool, said)) / len(said)


def _each(ms: np.ndarray, emissions: EmissionSet) -> dict[str, float]:
    return percentiles(ms / len(emissions.items))


def per_item(measured: Row, emissions: EmissionSet) -> Row:
    """Turn the milliseconds of a set into those of an item."""
    count = len(emissions.items)
    times = {key: {name: ms / count for name, ms in measured[key].items()} for key in ("first_ms", "second_ms")}
    return measured | times
