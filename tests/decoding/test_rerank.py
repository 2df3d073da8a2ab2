"""`Decoding.rerank`: the order, the scores and the confidences of hypotheses after a function has scored them."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit import Decoding, Hypothesis
from ctckit.decoding.scorers import TokenBias
from tests.decoding.problems import emissions

pytestmark = pytest.mark.usefixtures("core")

greedy_decode: Any = ctckit.greedy_decode
VOCABULARY = ["-", "|", "a", "b", "c"]
X = emissions("held", 30, 5, 2)


def decode(x: torch.Tensor = X, **options: Any) -> Any:
    return ctckit.Decoder(VOCABULARY, **{"beam_width": 16, "nbest": 6, "frame_duration": 0.02} | options)(x)


def lengths(hypotheses: list[Hypothesis]) -> list[float]:
    return [1.5 * len(hypothesis.tokens) for hypothesis in hypotheses]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 7])
def test_scores_are_sums_and_sorted(weight: float) -> None:
    found = decode()
    gains = {one.tokens: weight * gain for one, gain in zip(found.nbest, lengths(found.nbest), strict=True)}
    new = found.rerank(lengths, weight)
    assert isinstance(new, Decoding)
    assert {one.tokens for one in new.nbest} == set(gains)
    scores = {one.tokens: one.score for one in found.nbest}
    for one in new.nbest:
        assert one.score == scores[one.tokens] + gains[one.tokens]
        assert one.rerank_score == gains[one.tokens]
    assert [one.score for one in new.nbest] == sorted((one.score or 0.0 for one in new.nbest), reverse=True)
    best = max(gains, key=lambda tokens: scores[tokens] + gains[tokens])
    assert (new.tokens, new.score, new.rerank_score) == (best, scores[best] + gains[best], gains[best])


def test_the_order_changes_and_the_old_decoding_stays() -> None:
    found = decode()
    before = found.nbest
    new = found.rerank(lambda hypotheses: [10.0 * place for place in range(len(hypotheses))])
    assert [one.tokens for one in new.nbest] == [one.tokens for one in before[::-1]]
    assert found.nbest is before
    assert all(one.rerank_score is None for one in before)
    assert found.rerank_score is None


def test_other_parts_of_the_score_stay() -> None:
    found = decode(hotwords={"b": 2.0, "ab": -1.0})
    new = found.rerank(lengths)
    old = {one.tokens: one for one in found.nbest}
    assert any(one.hotword_score for one in new.nbest)
    for one in new.nbest:
        for name in ("acoustic_score", "lm_score", "hotword_score", "beam_score", "exact", "text", "words"):
            assert getattr(one, name) == getattr(old[one.tokens], name), name
        assert one.score == pytest.approx(one.acoustic_score + one.lm_score + one.hotword_score + one.rerank_score)


def test_equal_scores_keep_their_order() -> None:
    found = decode()
    assert found.rerank(lambda hypotheses: [0.0] * len(hypotheses)) != found  # it is reranked
    level = found.rerank(lambda hypotheses: [-one.score for one in hypotheses])
    assert [one.tokens for one in level.nbest] == [one.tokens for one in found.nbest]
    assert {one.score for one in level.nbest} == {0.0}


def test_minus_infinity_comes_last() -> None:
    found = decode()
    new = found.rerank(lambda hypotheses: [-math.inf, 0.0, -math.inf, *[0.0] * (len(hypotheses) - 3)])
    assert [one.tokens for one in new.nbest[-2:]] == [found.nbest[0].tokens, found.nbest[2].tokens]
    assert [one.score for one in new.nbest[-2:]] == [-math.inf] * 2
    assert [one.confidence for one in new.nbest[-2:]] == [0.0, 0.0]
    none = found.rerank(lambda hypotheses: [-math.inf] * len(hypotheses))
    assert [one.tokens for one in none.nbest] == [one.tokens for one in found.nbest]
    assert {one.confidence for one in none.nbest} == {0.0}
    without = found.rerank(lambda hypotheses: [-math.inf] * len(hypotheses), 0.0)
    assert [one.score for one in without.nbest] == [one.score for one in found.nbest]


def test_twice_adds_up() -> None:
    found = decode()
    twice = found.rerank(lengths).rerank(lengths, 0.5)
    once = found.rerank(lengths, 1.5)
    assert [one.tokens for one in twice.nbest] == [one.tokens for one in once.nbest]
    for one, other in zip(twice.nbest, once.nbest, strict=True):
        assert one.score == pytest.approx(other.score)
        assert one.rerank_score == pytest.approx(other.rerank_score)
        assert one.confidence == pytest.approx(other.confidence)


@pytest.mark.parametrize("options", [{}, {"scorers": [TokenBias([0.5] * 5)]}, {"rescore": False}])
def test_confidences_are_shared_out_anew(options: Any) -> None:
    """By Bayes' rule within the list: the sum is that of before."""
    found = decode(**options)
    new = found.rerank(lengths)
    expected = {one.tokens: one.confidence * math.exp(1.5 * len(one.tokens)) for one in found.nbest}
    scale = math.fsum(one.confidence for one in found.nbest) / math.fsum(expected.values())
    for one in new.nbest:
        assert one.confidence == pytest.approx(expected[one.tokens] * scale)
    assert new.confidence == new.nbest[0].confidence
    same = found.rerank(lambda hypotheses: [-3.0] * len(hypotheses))
    assert [one.confidence for one in same.nbest] == pytest.approx([one.confidence for one in found.nbest])


def test_gains_beyond_the_range_of_exp_have_confidences() -> None:
    found = decode()
    new = found.rerank(lambda hypotheses: [-3000.0 - place for place in range(len(hypotheses))])
    assert sum(one.confidence for one in new.nbest) == pytest.approx(sum(one.confidence for one in found.nbest))
    new = found.rerank(lambda hypotheses: [3000.0 * place for place in range(len(hypotheses))])
    assert new.confidence == pytest.approx(sum(one.confidence for one in found.nbest))


def test_nothing_is_certified() -> None:
    found = decode(beam_width=64)
    assert found.certified
    new = found.rerank(lengths, 0.0)
    assert new.certified is None
    assert new.lost == found.lost


def test_values_of_all_kinds() -> None:
    found = decode()
    expected = found.rerank(lengths)
    for convert in (
        np.array,
        lambda values: np.array(values, dtype=np.float32),
        torch.tensor,
        lambda values: torch.tensor(values, dtype=torch.bfloat16),
        lambda values: torch.tensor(values, requires_grad=True) * 1.0,
        tuple,
    ):
        new = found.rerank(lambda hypotheses, convert=convert: convert(lengths(hypotheses)))
        assert new == expected
        assert all(type(one.score) is type(one.rerank_score) is float for one in new.nbest)
    whole = found.rerank(lambda hypotheses: torch.tensor([len(one.tokens) for one in hypotheses]), 1.5)
    assert whole == expected


BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda hypotheses: [0.0] * (len(hypotheses) - 1), ValueError, r"shape \(5,\) for 6 hypotheses"),
    (lambda _: 1.0, ValueError, r"shape \(\) for 6 hypotheses"),
    (lambda hypotheses: np.zeros((len(hypotheses), 1)), ValueError, r"shape \(6, 1\)"),
    (lambda _: [0.0, 0.0, math.nan, 0.0, 0.0, 0.0], ValueError, r"returned nan for hypothesis 2, '.*', but must"),
    (lambda _: [0.0, math.inf, 0.0, 0.0, 0.0, 0.0], ValueError, r"returned inf for hypothesis 1, '"),
    (lambda _: ["1"] * 6, TypeError, r"returned \['1', .*, a list, but must return one number"),
    (lambda _: None, TypeError, "returned None, a NoneType"),
    (lambda _: [[0.0], [0.0, 1.0]], TypeError, "must return one number for each"),
    (lambda _: torch.zeros(6, dtype=torch.complex64), TypeError, "must return one number for each"),
    (lambda _: [True] * 6, TypeError, "must return one number for each"),
    (None, TypeError, "function is a NoneType, but must be a function"),
]


@pytest.mark.parametrize(("function", "kind", "message"), BAD)
def test_bad_functions(function: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        decode().rerank(function)
    assert isinstance(caught.value, (ctckit.ArgumentValueError, ctckit.ArgumentTypeError))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-0.1, "weight is -0.1"),
        (math.nan, "weight is nan"),
        (math.inf, "weight is inf"),
        ("1", "a str"),
        (True, "a bool"),
    ],
)
def test_bad_weights(weight: Any, message: str) -> None:
    with pytest.raises((ctckit.ArgumentValueError, ctckit.ArgumentTypeError), match=message):
        decode().rerank(lengths, weight)


def test_an_overflow_names_the_hypothesis() -> None:
    with pytest.raises(ctckit.ArgumentValueError, match=r"returned 1e\+300 for hypothesis 1"):
        decode().rerank(lambda hypotheses: [0.0, *[1e300] * (len(hypotheses) - 1)], 1e10)


def test_an_error_of_the_function_passes() -> None:
    with pytest.raises(KeyError):
        decode().rerank(lambda hypotheses: [{}[one.text] for one in hypotheses])


def test_no_hypothesis() -> None:
    none = decode(torch.full((2, 5), -torch.inf))
    new = none.rerank(pytest.fail)
    assert (new, new.problem, new.score) == (none, none.problem, -math.inf)
    with pytest.raises(ctckit.ArgumentTypeError, match="function is a str"):
        none.rerank("text")


def test_greedy_decoding() -> None:
    with pytest.raises(ctckit.ArgumentValueError, match="no scores to add to: decode with rescore=True"):
        greedy_decode(X).rerank(lengths)
    found = greedy_decode(X, rescore=True)
    new = found.rerank(lengths)
    assert (new.tokens, new.confidence, new.path_score) == (found.tokens, found.confidence, found.path_score)
    assert new.score == found.score + lengths([found])[0]


def test_without_a_vocabulary() -> None:
    found: Any = ctckit.beam_search(X, beam_width=16, nbest=6)
    assert found.rerank(lengths).tokens == decode().rerank(lengths).tokens
    with pytest.raises(ctckit.ArgumentValueError, match=r"for hypothesis 0, \[\d"):
        found.rerank(lambda hypotheses: [math.nan] * len(hypotheses))


def test_the_alignment_is_that_of_the_new_best() -> None:
    found = decode()
    reverse = found.rerank(lambda hypotheses: [50.0 * place for place in range(len(hypotheses))])
    assert reverse.tokens != found.tokens
    assert found.alignment == ctckit.align(X, list(found.tokens), VOCABULARY, frame_duration=0.02)
    assert reverse.alignment == ctckit.align(X, list(reverse.tokens), VOCABULARY, frame_duration=0.02)


def test_a_stream_has_the_times_of_its_own_best() -> None:
    streams = []
    for _ in range(3):
        stream = ctckit.Decoder(VOCABULARY, beam_width=16, nbest=6, frame_duration=0.02).stream()
        stream.push(X)
        streams.append(stream.finish())
    times = streams[0].alignment
    assert streams[1].rerank(lambda hypotheses: [0.0] * len(hypotheses)).alignment == times
    other = streams[2].rerank(lambda hypotheses: [50.0 * place for place in range(len(hypotheses))])
    with pytest.raises(ctckit.ArgumentValueError, match="reranking has chosen another: decode all frames at once"):
        _ = other.alignment
    assert streams[2].alignment == times
    assert pickle.loads(pickle.dumps(streams[2])).alignment == times  # noqa: S301


def test_copies() -> None:
    found = decode()
    expected = found.rerank(lengths)
    for one in (pickle.loads(pickle.dumps(found)).rerank(lengths), pickle.loads(pickle.dumps(expected))):  # noqa: S301
        assert one == expected
        assert [h.confidence for h in one.nbest] == [h.confidence for h in expected.nbest]
        assert (one.to_dict(), repr(one)) == (expected.to_dict(), repr(expected))


def test_dict_and_table() -> None:
    found = decode()
    new = found.rerank(lengths)
    values = new.to_dict()
    assert values["rerank_score"] == new.rerank_score
    assert [one["rerank_score"] for one in values["nbest"]] == [one.rerank_score for one in new.nbest]
    assert "certified" not in values
    assert "rerank_score" not in found.to_dict()
    first, _, row, *_ = repr(new).splitlines()
    assert first.endswith(", reranked")
    assert row.split()[0] == f"{new.score:.2f}"
    assert "reranked" not in repr(found)
