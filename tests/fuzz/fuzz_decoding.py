"""Runs the decoders on random problems, and compares the core with the definition to the bit; see `fuzz_core`."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import ctckit
from ctckit.backends import cpu
from ctckit.backends.searches import SearchOptions, SearchResult
from ctckit.decoding.scorers import TokenBias, checked_scorers
from ctckit.reference import decoding
from tests.decoding import textbook
from tests.decoding.problems import defined_beam
from tests.tools.core_memory import fill_core_memory

WIDTHS = (1, 1, 2, 3, 5, 8, 16, 40, 150)
THRESHOLDS = ("beam_threshold", "token_threshold", "blank_threshold")
MOST_STEPS = 60_000  # prefixes times classes times frames: more take the definition too long


@dataclass(frozen=True)
class Question:
    """What to ask of the decoders about the first item of a problem."""

    options: SearchOptions
    biases: tuple[float, ...]
    chunks: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.options} biases={self.biases[:9]} chunks={self.chunks[:9]}"


def draw(r: random.Random, frames: int, classes: int, blank: int, *, logits: bool) -> Question:
    width = r.choice([width for width in WIDTHS if width * classes * max(1, frames) <= MOST_STEPS] or [1])
    options = SearchOptions(blank, width, width, logits, rescore=r.random() < 0.5)
    if r.random() < 0.3:
        options = options._replace(beam_threshold=r.choice((0.5, math.log(2), 3.0, 20.0)))
    if r.random() < 0.3:
        options = options._replace(token_threshold=r.choice((1e-4, 0.01, 0.1, 0.5)))
    if r.random() < 0.3:
        options = options._replace(blank_threshold=r.choice((0.0, 0.3, 0.9)))
    biases: tuple[float, ...] = ()
    if r.random() < 0.3:
        biases = tuple(r.choice((0.0, -math.inf, r.uniform(-3, 3))) for _ in range(r.randint(1, classes)))
    sizes: list[int] = []
    while sum(sizes) < frames:
        sizes.append(min(r.choice((0, 1, 2, 17)), frames - sum(sizes)))
    return Question(options, biases, tuple(sizes))


def check(x: Tensor, lengths: tuple[int, ...], question: Question) -> None:
    """Compare everything that the decoders say about a batch (T, N, C); raise an AssertionError if something is wrong.

    The whole batch is decoded, and the first item judged; a search must not depend on the others.
    """
    options, length = question.options, lengths[0]
    scorers: Any = checked_scorers([TokenBias(question.biases)]) if question.biases else []
    fill_core_memory(0xFF)
    together = cpu.beam_search(x, torch.tensor(lengths), options, scorers)
    fill_core_memory(0)
    (alone,) = cpu.beam_search(x[:length, :1], torch.tensor([length]), options, scorers)
    assert said(together[0]) == said(alone), "in a batch"
    stream = cpu.search_stream(x.shape[2], options, scorers)
    stable: tuple[int, ...] = ()
    begin = 0
    for size in question.chunks:
        stream.push(x[begin : begin + size, 0])
        begin += size
        assert stream.stable()[: len(stable)] == stable, "what was stable"
        stable = stream.stable()
    streamed = stream.finish(options.hypotheses)
    assert said(streamed)[:4] == said(alone)[:4], "in chunks"
    assert all(found.tokens[: len(stable)] == stable for found in streamed.hypotheses), "what was stable"
    rows = x[:length, 0].double()
    check_status(alone, rows)
    check_scores(alone, x[:length, 0], options)
    if alone.status != "not_finite":
        check_definition(alone, rows, options, scorers)
    check_greedy(x, lengths, rows, options)


def said(result: SearchResult) -> tuple[Any, ...]:
    beam = [(found.tokens, found.beam_score) for found in result.hypotheses]
    scores = [found.acoustic_score for found in result.hypotheses]
    return result.status, result.frame, beam, result.log_beam_mass, scores


def check_status(result: SearchResult, rows: Tensor) -> None:
    wrong = (rows.isnan() | (rows == torch.inf)).any(1).nonzero()
    empty = (rows == -torch.inf).all(1).nonzero()
    first_wrong, first_empty = (int(places[0]) if len(places) else len(rows) for places in (wrong, empty))
    if result.status == "not_finite":
        assert result.frame == first_wrong, "the frame with NaN"
    else:
        assert first_wrong == len(rows) or result.frame < first_wrong, "a NaN that passed unseen"
        assert result.frame <= first_empty, "a frame of -inf that passed unseen"
    assert (result.status == "done") == bool(result.hypotheses), "a status without hypotheses"


def check_scores(result: SearchResult, x: Tensor, options: SearchOptions) -> None:
    """Exact scores are minus the loss; a beam has no more."""
    if not options.rescore or result.status != "done" or not len(x):
        return
    log_probs = x.double().log_softmax(1) if options.logits else x.double()
    for found in result.hypotheses[:3]:
        target = torch.tensor([found.tokens], dtype=torch.int64)
        loss = ctckit.ctc_loss(
            log_probs[:, None], target, [len(x)], [len(found.tokens)], options.blank, reduction="none"
        )
        exact = -float(loss)
        near = 1e-6 * max(1.0, abs(exact), float(x[x.isfinite()].abs().max()))
        assert abs(found.acoustic_score - exact) <= near, f"exact score {found.acoustic_score}, not {exact}"


def check_definition(result: SearchResult, rows: Tensor, options: SearchOptions, scorers: Any) -> None:
    """The same beam, to the bit, where no frame is far from normalised."""
    if options.width * rows.numel() > 4 * MOST_STEPS or not (rows > -torch.inf).any(1).all():
        return
    thresholds: dict[str, Any] = {name: getattr(options, name) for name in THRESHOLDS}
    beam = [(found.tokens, found.beam_score) for found in result.hypotheses]
    if options.logits:
        if not scorers:
            p = textbook.probabilities_of_logits(rows)
            assert beam == textbook.beam_search(p, beam_width=options.width, blank=options.blank, **thresholds), (
                "the beam"
            )
        return
    sums = rows.logsumexp(1)
    if bool(((sums > 50) | (sums < -500)).any()):
        return
    expected = defined_beam(rows, options.width, options.blank, scorers, **thresholds)
    assert beam == expected, "the beam"


def check_greedy(x: Tensor, lengths: tuple[int, ...], rows: Tensor, options: SearchOptions) -> None:
    (found, *_) = cpu.greedy_decode(x, torch.tensor(lengths), options.blank, logits=options.logits, rescore=True)
    if (rows.isnan() | (rows == torch.inf)).any():
        assert found.status == "not_finite", "a NaN that passed unseen"
        return
    if options.logits and bool((rows == -torch.inf).all(1).any()):
        assert found.status == "no_mass", "a frame of -inf"
        return
    tokens, path_score = decoding.greedy(rows, options.blank)
    assert found.tokens == tokens, "greedy tokens"
    if not options.logits:
        assert found.path_score == path_score, "greedy score"
