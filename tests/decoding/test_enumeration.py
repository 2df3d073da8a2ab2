"""The decoders against the enumeration of all paths."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import pytest
import torch

import ctckit
from tests.reference.decoding_problems import Bigrams, every_blank, problems
from tests.tools import decode_oracle

beam_search: Any = ctckit.beam_search
EVERYTHING = 4096


@every_blank
def test_a_wide_beam_is_exact(backend: str, classes: int, blank: int) -> None:
    del backend
    for one in problems(classes, blank, longest=4):
        scores = decode_oracle.acoustic_scores(one.rows, classes, blank)
        possible = {tokens: score for tokens, score in scores.items() if score > -math.inf}
        for rescore in (True, False):
            found = quiet(one.x, beam_width=EVERYTHING, nbest=EVERYTHING, blank=blank, rescore=rescore)
            assert (found.problem is None) == bool(possible)
            pairs = [(hypothesis.tokens, hypothesis.acoustic_score) for hypothesis in found.nbest]
            decode_oracle.assert_scores(pairs, scores, tolerance=1e-9)
            assert found.exact == (rescore and bool(possible))


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@every_blank
def test_a_narrow_beam_has_exact_scores(backend: str, classes: int, blank: int, width: int) -> None:
    del backend
    for one in problems(classes, blank, longest=4):
        scores = decode_oracle.acoustic_scores(one.rows, classes, blank)
        found = quiet(one.x, beam_width=width, nbest=width, blank=blank)
        kept = decode_oracle.beam(one.rows, classes, blank, width)
        assert {hypothesis.tokens for hypothesis in found.nbest} == {tokens for tokens, _ in kept}
        pairs = [(hypothesis.tokens, hypothesis.acoustic_score) for hypothesis in found.nbest]
        decode_oracle.assert_scores(pairs, {tokens: scores[tokens] for tokens, _ in kept}, tolerance=1e-9)
        for hypothesis in found.nbest:
            assert hypothesis.beam_score == pytest.approx(dict(kept)[hypothesis.tokens], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("classes", "blank"), [(2, 0), (3, 2), (4, 1)])
def test_scorers(backend: str, classes: int, blank: int) -> None:
    del backend
    first, second = Bigrams(classes, seed=1), Bigrams(classes, seed=2)
    for one, width in itertools.product(problems(classes, blank, longest=4), (3, EVERYTHING)):
        scores = decode_oracle.acoustic_scores(one.rows, classes, blank)
        gain = lambda tokens: sum(s.of(tokens) + s.of_end(tokens) for s in (first, second))  # noqa: E731
        objectives = decode_oracle.objectives(scores, gain)
        found = quiet(one.x, beam_width=width, nbest=width, blank=blank, scorers=[first, second])
        for hypothesis in found.nbest:
            assert hypothesis.acoustic_score == pytest.approx(scores[hypothesis.tokens], rel=1e-9, abs=1e-9)
            assert hypothesis.score == pytest.approx(objectives[hypothesis.tokens], rel=1e-9, abs=1e-9)
        order = [hypothesis.score for hypothesis in found.nbest]
        assert order == sorted(order, reverse=True)
        if width == EVERYTHING:
            assert {hypothesis.tokens for hypothesis in found.nbest} == {y for y, p in scores.items() if p > -math.inf}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_and_logits(backend: str, dtype: torch.dtype) -> None:
    """The emissions are the numbers of the dtype, whatever they add up to."""
    del backend
    for one in problems(3, 1, longest=4):
        x = one.x.to(dtype)
        scores = decode_oracle.acoustic_scores(x.double().tolist(), 3, 1)
        found = quiet(x, beam_width=EVERYTHING, nbest=EVERYTHING, blank=1)
        pairs = [(hypothesis.tokens, hypothesis.beam_score) for hypothesis in sorted(found.nbest, key=beam_score)]
        decode_oracle.assert_scores(pairs, scores, tolerance=1e-9)
        logits = (2 * x + 1.5).clamp_min(-50)
        scores = decode_oracle.acoustic_scores(logits.double().log_softmax(1).tolist(), 3, 1)
        found = quiet(logits, beam_width=EVERYTHING, nbest=EVERYTHING, blank=1, logits=True)
        pairs = [(hypothesis.tokens, hypothesis.beam_score) for hypothesis in sorted(found.nbest, key=beam_score)]
        decode_oracle.assert_scores(pairs, scores, tolerance=1e-9)


def beam_score(hypothesis: ctckit.Hypothesis) -> float:
    assert hypothesis.beam_score is not None
    return -hypothesis.beam_score


def quiet(x: torch.Tensor, **options: Any) -> Any:
    """Decode emissions that need not be normalised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return beam_search(x, **options)
