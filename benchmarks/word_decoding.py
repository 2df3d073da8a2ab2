"""How fast is the beam search with a language model, a lexicon, and hotwords, beside other decoders?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import ctckit
from benchmarks import cases, emission_sets
from benchmarks.decoding import EQUAL, judge, meet, padded, per_item
from benchmarks.decoding_calls import Search
from benchmarks.language import (
    LM_WEIGHT,
    UNKNOWN_SCORE,
    WORD_BONUS,
    arpa_file,
    labels,
    language,
    phrases,
    words_of,
)
from benchmarks.process import Process, ProcessError
from benchmarks.timing import Call, compare
from benchmarks.word_decoding_calls import DECODERS

if TYPE_CHECKING:
    from benchmarks.emission_sets import EmissionSet
    from benchmarks.settings import Row, Settings
    from benchmarks.timing import Effort

WIDTHS = {"peaked words": (10, 100), "flat words": (10, 100, 500)}
PHRASES, PHRASE_WEIGHT = 1000, 5.0
SECONDS = 60  # for all items of a case


def measure(settings: Settings) -> Iterator[Row]:
    """Every case: beside others, then with a lexicon, and with hotwords."""
    torch.set_num_threads(1)
    chosen = settings.among({name: cases.DECODING[name] for name in WIDTHS})
    for case in chosen:
        emissions = emission_sets.make(case)
        emissions = emissions.first(2) if settings.quick else emissions
        out: dict[str, str] = {}  # peers that failed, and why
        for width in WIDTHS[case.name][: 1 if settings.quick else None]:
            rows = list(_beside(case, width, emissions, settings, settings.effort(3.0, 3), out))
            yield from judged(rows)
            yield from _with_knowledge(case, width, emissions, settings.effort(1.5, 5))


class Ours:
    """ctckit's search of all items, in one call for the padded batch."""

    def __init__(self, width: int, emissions: EmissionSet, *, lm: bool = True, **more: object) -> None:
        self.batch = padded([torch.from_numpy(item) for item in emissions.items])
        known: dict[str, object] = {}
        if lm:
            weights = {"lm_weight": LM_WEIGHT, "word_bonus": WORD_BONUS, "unknown_score": UNKNOWN_SCORE}
            known = {"lm": ctckit.NGram(arpa_file()), **weights}
        options: dict[str, Any] = {"blank": cases.BLANK, "rescore": False, **known, **more}
        self.decoder = ctckit.Decoder(labels(), beam_width=width, **options)

    def __call__(self) -> list[Any]:
        """Decode."""
        found: Any = self.decoder(*self.batch)
        return list(found)


def objective(emissions: EmissionSet, found: Sequence[Sequence[int]]) -> tuple[float, float]:
    """The mean of -J, by the exact loss in float64 and the model as a dictionary, and the errors per label."""
    judgement = judge(emissions, found)
    gains = [language().gain(words_of(classes)) for classes in found]
    return judgement.loss - float(np.mean(gains)), judgement.error_rate


def judged(rows: Sequence[Row]) -> Iterator[Row]:
    """Say of each peer whether the goal counts beside it: whether its hypotheses are as good, or all are worse."""
    able = [row for row in rows if "ratio" in row]
    equal = [row for row in able if row["worse_by"] >= -EQUAL]
    for row in rows:
        yield row | {"counts": row in (equal or able)} if "ratio" in row else row


def _beside(
    case: cases.Case, width: int, emissions: EmissionSet, settings: Settings, effort: Effort, out: dict[str, str]
) -> Iterator[Row]:
    """Each peer in turn with ctckit; one that failed at a smaller width is not asked again."""
    ours = Ours(width, emissions)
    loss, error_rate = objective(emissions, [result.tokens for result in ours()])
    yield {"who": "ctckit", "case": case.name, "beam_width": width, "loss": loss, "error_rate": error_rate}
    for peer, python in settings.peers.items():
        if peer not in DECODERS:
            continue
        row: Row = {"peer": peer, "case": case.name, "beam_width": width}
        if peer in out:
            yield row | {"problem": out[peer]}
            continue
        serve = "benchmarks.word_decoding_calls:serve", peer, asdict(case), Search(width), len(emissions.items)
        try:
            with Process(*serve, seconds=SECONDS, python=python, quiet=True) as process:
                measured = meet(process, ours, emissions, effort)
                theirs, errors = objective(emissions, process.ask(classes=True))
        except ProcessError as problem:
            out[peer] = f"at width {width}: {problem}"
            yield row | {"problem": out[peer]}
            continue
        found = {"loss": theirs, "error_rate": errors, "our_loss": loss, "worse_by": loss - theirs}
        yield row | measured | found


def _with_knowledge(case: cases.Case, width: int, emissions: EmissionSet, effort: Effort) -> Iterator[Row]:
    """What each kind of knowledge takes on top."""
    hotwords = dict.fromkeys(phrases(PHRASES), PHRASE_WEIGHT)
    one = {next(iter(hotwords)): PHRASE_WEIGHT}
    closed = {"lexicon": language().words}
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # with and without
        "a language model": ({}, {"lm": False}),
        "a lexicon, with the model": (closed, {}),
        "1,000 hotwords": ({"lm": False, "hotwords": hotwords}, {"lm": False}),
        "1,000 hotwords, with the model": ({"hotwords": hotwords}, {}),
        "1,000 hotwords, instead of one": ({"lm": False, "hotwords": hotwords}, {"lm": False, "hotwords": one}),
    }
    for name, (more, less) in kinds.items():
        measured = compare(Call(Ours(width, emissions, **more)), Call(Ours(width, emissions, **less)), effort)
        yield {"who": name, "case": case.name, "beam_width": width} | per_item(measured, emissions)
