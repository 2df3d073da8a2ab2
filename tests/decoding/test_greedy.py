"""Greedy decoding against enumeration and its definition: ties, dtypes, logits, lengths."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

import ctckit
from ctckit.reference import decoding
from tests.decoding.problems import KINDS, emissions
from tests.reference.decoding_problems import every_blank, problems
from tests.tools import decode_oracle

pytestmark = pytest.mark.filterwarnings("ignore:.*emissions hold values", "ignore:.*the probabilities of a frame")

greedy_decode: Any = ctckit.greedy_decode
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@every_blank
def test_enumeration(backend: str, classes: int, blank: int) -> None:
    del backend
    for one in problems(classes, blank, longest=4):
        for x in (one.x, one.x.round()):  # with ties
            found = greedy_decode(x, blank=blank, rescore=True)
            if not (x > -math.inf).any(1).all():
                assert found.nbest == ()
                assert (found.path_score, found.score) == (-math.inf, -math.inf)
                continue
            tokens, score = decode_oracle.greedy(x.tolist(), classes, blank)
            assert found.tokens == tokens
            assert found.path_score == pytest.approx(score, abs=1e-12)
            scores = decode_oracle.acoustic_scores(x.tolist(), classes, blank)
            assert found.score == found.acoustic_score == pytest.approx(scores[tokens], rel=1e-9, abs=1e-9)
            assert found.exact


@pytest.mark.usefixtures("simd")
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_classes(dtype: torch.dtype) -> None:
    """Of every place in a vector, and of the rest of one."""
    for classes in (*range(1, 70), 127, 128, 129, 300):
        for kind in ("flat", "ties", "uniform", "masked"):
            x, blank = emissions(kind, 12, classes).to(dtype), classes // 2
            found = greedy_decode(x, blank=blank)
            assert (found.tokens, found.path_score) == decoding.greedy(x, blank), (classes, kind)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_definition(backend: str, kind: str, dtype: torch.dtype) -> None:
    del backend
    for classes, blank in ((2, 1), (9, 0), (33, 32), (150, 7)):
        x = emissions(kind, 40, classes).to(dtype)
        found = greedy_decode(x, blank=blank)
        assert (found.tokens, found.path_score) == decoding.greedy(x, blank)
        assert (found.score, found.acoustic_score, found.exact) == (None, None, False)
        assert (found.certified, found.lost, found.problem) == (None, None, None)
        if kind in ("masked", "wide"):
            continue
        shifted = (2 * x + 3).to(dtype)
        tokens, score = decoding.greedy(shifted.double().log_softmax(1), blank)
        logits = greedy_decode(shifted, blank=blank, logits=True, rescore=True)
        if kind != "nearly equal":
            assert logits.tokens == tokens
        assert logits.path_score == pytest.approx(score, rel=1e-12)
        assert logits.acoustic_score >= logits.path_score - 1e-6


def test_ties_go_to_the_lowest_class(backend: str) -> None:
    del backend
    for classes in (2, 5, 17, 64, 200):
        for first, dtype in itertools.product((0, 1, classes // 2, classes - 1), DTYPES):
            x = torch.full((1, classes), -2.0, dtype=dtype)
            x[0, first:] = -1.0
            blank = (first + 1) % classes
            assert greedy_decode(x, blank=blank).tokens == ((first,) if first != blank else ())
    assert greedy_decode(torch.tensor([[-0.0, 0.0]]), blank=0).tokens == ()
    assert greedy_decode(torch.tensor([[0.0, -0.0]]), blank=1).tokens == (0,)


def test_repeats_and_blanks(backend: str) -> None:
    del backend
    path = [1, 1, 0, 1, 2, 2, 0, 0, 2, 1]
    x = (9.0 * torch.eye(3)[path]).log_softmax(1)
    assert greedy_decode(x).tokens == (1, 1, 2, 2, 1)
    assert greedy_decode(x, blank=1).tokens == (0, 2, 0, 2)
    assert greedy_decode(x, blank=2).tokens == (1, 0, 1, 0, 1)
    assert greedy_decode(x[:0]).tokens == ()
    assert greedy_decode(x[:0]).path_score == 0.0
    assert greedy_decode(torch.zeros(4, 1)).tokens == ()
    assert greedy_decode(torch.zeros(0, 3, 2)) == []


def test_batches(backend: str) -> None:
    del backend
    x = torch.stack([emissions(kind, 20, 6) for kind in ("sharp", "flat", "held")])
    found = greedy_decode(x, [20, 7, 0], rescore=True)
    for one, item, length in zip(found, x, (20, 7, 0), strict=True):
        alone = greedy_decode(item[:length], rescore=True)
        assert (one.tokens, one.path_score, one.score) == (alone.tokens, alone.path_score, alone.score)
    swapped = greedy_decode(x.transpose(0, 1), torch.tensor([20, 7, 0]), batch_first=False)
    assert [one.tokens for one in swapped] == [one.tokens for one in found]
