"""Exact scores: minus the CTC loss of what was found, and the order by them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import ctckit
from ctckit.decoding.scorers import TokenBias
from tests.decoding.problems import emissions
from tests.reference.decoding_problems import Bigrams

beam_search: Any = ctckit.beam_search
LIMITS = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 1e-6, torch.bfloat16: 1e-6}
"""Errors relative to the score: those of the loss."""


def exact(log_probs: Tensor, tokens: tuple[int, ...], blank: int) -> float:
    """Log of the probability of the tokens, in float64 by torch."""
    x = log_probs.double()
    target = torch.tensor([tokens], dtype=torch.int64)
    loss = torch.nn.functional.ctc_loss(
        x[:, None], target, torch.tensor([len(x)]), torch.tensor([len(tokens)]), blank=blank, reduction="none"
    )
    return -float(loss)


@pytest.mark.filterwarnings("ignore:the probabilities of a frame", "ignore:emissions hold values")
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("logits", [False, True], ids=["log_probs", "logits"])
def test_scores_are_those_of_the_loss(backend: str, dtype: torch.dtype, logits: bool) -> None:
    frames = 12 if backend == "reference" else 90
    for kind, classes, seed in itertools.product(("sharp", "flat", "held", "masked"), (3, 12, 140), range(2)):
        if backend == "reference" and classes > 12:
            continue
        x, blank = emissions(kind, frames, classes, seed).to(dtype), classes // 2
        x = (2 * x + 4).to(dtype) if logits else x
        found = beam_search(x, beam_width=8, nbest=8, blank=blank, logits=logits)
        log_probs = x.double().log_softmax(1) if logits else x
        assert found.exact
        assert len(found.nbest) > 1
        for hypothesis in found.nbest:
            score = exact(log_probs, hypothesis.tokens, blank)
            assert hypothesis.acoustic_score == pytest.approx(score, rel=LIMITS[dtype], abs=LIMITS[dtype])
            assert hypothesis.score == hypothesis.acoustic_score


@pytest.mark.parametrize("offset", [1e3, -1e5, 1e8, 1e30, -1e30, 1e300])
@pytest.mark.parametrize("classes", [4, 140])
def test_logits_of_any_offset(core: None, classes: int, offset: float) -> None:
    """A sum of logits and the sum of their normalisers would cancel."""
    del core
    x = emissions("sharp", 40, classes).div(0.25).round().mul(0.25)  # exact beside an offset of up to 1e15
    shifted = x + offset
    if abs(offset) > 1e15:
        x = torch.zeros_like(x)
    expected, found = (beam_search(emissions, beam_width=4, nbest=4, logits=True) for emissions in (x, shifted))
    assert [h.tokens for h in found.nbest] == [h.tokens for h in expected.nbest]
    limit = pytest.approx([h.score for h in expected.nbest], rel=1e-9)
    assert [h.score for h in found.nbest] == limit
    assert found.certified == expected.certified
    greedy = [ctckit.greedy_decode(emissions, logits=True, rescore=True) for emissions in (x, shifted)]
    assert greedy[1].path_score == pytest.approx(greedy[0].path_score, rel=1e-9)  # type: ignore[union-attr]
    assert greedy[1].score == pytest.approx(greedy[0].score, rel=1e-9)  # type: ignore[union-attr]


def test_the_order(backend: str) -> None:
    """Hypotheses are in the order of their exact scores, which differs from the beam's."""
    moved = 0
    for seed, scorers in itertools.product(range(12), ([], [Bigrams(6)])):
        frames = 10 if backend == "reference" else 40
        x = emissions("flat", frames, 6, seed)
        found = beam_search(x, beam_width=8, nbest=8, scorers=scorers)
        plain = beam_search(x, beam_width=8, nbest=8, scorers=scorers, rescore=False)
        scores = [hypothesis.score for hypothesis in found.nbest]
        assert scores == sorted(scores, reverse=True)
        beam = [hypothesis.beam_score for hypothesis in plain.nbest]
        assert beam == sorted(beam, reverse=True)
        assert {(h.tokens, h.beam_score) for h in found.nbest} == {(h.tokens, h.beam_score) for h in plain.nbest}
        moved += [h.tokens for h in found.nbest] != [h.tokens for h in plain.nbest]
    assert moved > 3


def test_the_best_hypotheses_of_the_beam_are_rescored(backend: str) -> None:
    """`nbest` cuts the beam before it is rescored: more hypotheses may bring a better one."""
    del backend
    for seed in range(5):
        x = emissions("flat", 10, 5, seed)
        beam = beam_search(x, beam_width=9, nbest=9, rescore=False)
        for nbest in (1, 2, 5, 9):
            found = beam_search(x, beam_width=9, nbest=nbest)
            assert {h.tokens for h in found.nbest} == {h.tokens for h in beam.nbest[:nbest]}


def test_scorers(backend: str) -> None:
    """A score is the acoustic score plus the gains; without rescoring it is the beam's."""
    del backend
    x = emissions("flat", 9, 5)
    bigrams, bias = Bigrams(5), TokenBias([0.0, 0.5, 1.0, -1.0, 0.0])
    for rescore in (True, False):
        found = beam_search(x, beam_width=6, nbest=6, scorers=[bigrams, bias], rescore=rescore)
        for hypothesis in found.nbest:
            tokens = hypothesis.tokens
            gain = bigrams.of(tokens) + bigrams.of_end(tokens) + sum([0.0, 0.5, 1.0, -1.0, 0.0][c] for c in tokens)
            assert hypothesis.score == pytest.approx(hypothesis.acoustic_score + gain)
            assert hypothesis.exact == rescore
            if rescore:
                assert hypothesis.acoustic_score == pytest.approx(exact(x, tokens, 0))
                assert hypothesis.beam_score < hypothesis.score + 1e-9
            else:
                assert hypothesis.score == hypothesis.beam_score


def test_a_beam_loses_mass_and_rescoring_finds_it(backend: str) -> None:
    del backend
    x = emissions("flat", 12, 4)
    found = beam_search(x, beam_width=2, nbest=2)
    for hypothesis in found.nbest:
        assert hypothesis.beam_score < hypothesis.acoustic_score - 0.01
    whole = beam_search(x[:5], beam_width=5000, nbest=3)
    for hypothesis in whole.nbest:
        assert hypothesis.beam_score == pytest.approx(hypothesis.acoustic_score)
    assert math.isfinite(found.score)
