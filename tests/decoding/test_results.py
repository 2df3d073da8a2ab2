"""`Decoding` and `Hypothesis`: their fields, copies, alignments, confidence, JSON and table."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from typing import Any

import pytest
import torch

import ctckit
from ctckit import Decoding, Hypothesis
from ctckit.decoding.scorers import TokenBias
from tests.decoding.problems import emissions
from tests.decoding.results import bits

beam_search: Any = ctckit.beam_search
greedy_decode: Any = ctckit.greedy_decode
VOCABULARY = ["-", "|", "a", "b", "c"]
X = emissions("held", 30, 5, 2)


def decode(**options: Any) -> Decoding:
    found = ctckit.Decoder(VOCABULARY, **{"beam_width": 8, "nbest": 3, "frame_duration": 0.02} | options)(X)
    assert isinstance(found, Decoding)
    return found


def test_a_decoding_is_its_best_hypothesis(backend: str) -> None:
    del backend
    found = decode()
    best = found.nbest[0]
    assert len(found.nbest) == 3
    assert all(isinstance(hypothesis, Hypothesis) for hypothesis in found.nbest)
    for name in (
        "tokens",
        "text",
        "words",
        "score",
        "acoustic_score",
        "lm_score",
        "hotword_score",
        "exact",
        "confidence",
    ):
        assert getattr(found, name) == getattr(best, name), name
    assert (best.lm_score, best.hotword_score, best.exact) == (0.0, 0.0, True)
    assert (found.path_score, found.problem) == (None, None)
    assert all(type(token) is int for token in found.tokens)
    assert type(found.score) is float
    assert type(found.certified) is bool


@pytest.mark.usefixtures("core")
def test_frozen() -> None:
    found = decode()
    for one, name in ((found, "nbest"), (found, "text"), (found.nbest[0], "tokens"), (found.nbest[0], "score")):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            setattr(one, name, None)
    with pytest.raises((AttributeError, TypeError)):
        found.new = 1  # type: ignore[attr-defined]
    assert hash(found.nbest[0]) == hash(decode().nbest[0])
    assert found == decode()
    assert found != decode(nbest=2)


COPIES = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),  # noqa: S301
    "deep copy": copy.deepcopy,
}


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("way", COPIES)
def test_copies_leave_the_emissions_out(way: str) -> None:
    """What they tell is computed before, except the alignment."""
    expected = decode()
    one = COPIES[way](decode())
    assert bits(one) == bits(expected)
    assert one == expected
    assert [h.text for h in one.nbest] == [h.text for h in expected.nbest]
    assert [h.confidence for h in one.nbest] == [h.confidence for h in expected.nbest]
    assert (repr(one), one.to_dict()) == (repr(expected), expected.to_dict())
    with pytest.raises(ValueError, match="ask for the alignment before you copy or pickle it"):
        _ = one.alignment
    asked = decode()
    alignment = asked.alignment
    again = COPIES[way](COPIES[way](asked))
    assert again.alignment == alignment
    assert bits(again) == bits(expected)


@pytest.mark.usefixtures("core")
def test_a_copy_is_small_and_a_hypothesis_can_be_copied_alone() -> None:
    x = emissions("held", 4000, 5)
    found = beam_search(x, beam_width=8)
    assert len(pickle.dumps(found)) < x.nbytes / 3
    hypothesis = COPIES["pickle"](decode().nbest[1])
    assert (hypothesis.text, hypothesis.confidence) == (decode().nbest[1].text, decode().nbest[1].confidence)
    shallow = copy.copy(decode())
    assert shallow.alignment == decode().alignment
    for one in (beam_search(X), greedy_decode(X), greedy_decode(X, rescore=True), beam_search(X[:0])):
        assert bits(COPIES["pickle"](one)) == bits(one)


def test_the_alignment_is_that_of_align(backend: str) -> None:
    del backend
    for options in ({}, {"logits": True}, {"frame_duration": None}):
        found = decode(**options)
        expected = ctckit.align(
            X,
            list(found.tokens),
            VOCABULARY,
            logits=bool(options.get("logits")),
            frame_duration=options.get("frame_duration", 0.02),
        )
        assert found.alignment == expected
        assert found.alignment is found.alignment
        assert [word.text for word in found.alignment.words] == list(found.words or ())
        assert [token.id for token in found.alignment.tokens] == list(found.tokens)
    plain = beam_search(X, blank=2)
    assert plain.alignment == ctckit.align(X, list(plain.tokens), blank=2)
    assert greedy_decode(X).alignment == ctckit.align(X, list(greedy_decode(X).tokens))


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_alignments_of_items_of_a_batch(dtype: torch.dtype) -> None:
    x = torch.stack([emissions(kind, 20, 5) for kind in ("held", "sharp", "flat")]).to(dtype)
    lengths = [20, 13, 0]
    found = ctckit.Decoder(VOCABULARY)(x, lengths)
    assert isinstance(found, list)
    for item, (one, length) in enumerate(zip(found, lengths, strict=True)):
        assert one is not None
        assert one.alignment == ctckit.align(x[item, :length], list(one.tokens), VOCABULARY)
        assert one.alignment.frames == length


@pytest.mark.usefixtures("core")
def test_nothing_to_align() -> None:
    none = beam_search(torch.full((2, 3), -torch.inf))
    with pytest.raises(ValueError, match="no hypothesis to align: no labelling has a probability above 0"):
        _ = none.alignment
    with pytest.raises(ValueError, match="no emissions to align"):
        _ = Decoding((Hypothesis((1,), 0.0, 0.0),)).alignment
    by_hand = Hypothesis((1,), -1.0, -1.0)
    assert (by_hand.text, by_hand.words, by_hand.confidence) == (None, None, None)
    assert Decoding((by_hand,)).to_dict()["tokens"] == [1]


def test_confidence(backend: str) -> None:
    """The probability, on normalised emissions; else the share of the final beam."""
    del backend
    found = decode()
    for hypothesis in found.nbest:
        assert hypothesis.confidence == pytest.approx(math.exp(hypothesis.acoustic_score or 0.0))
    for unclear in (
        beam_search(X - 0.5, beam_width=8, nbest=8),
        beam_search(X, beam_width=8, nbest=8, scorers=[TokenBias([1.0] * 5)]),
    ):
        shares = [hypothesis.confidence for hypothesis in unclear.nbest]
        assert sum(shares) == pytest.approx(1.0)
        masses = [math.exp(hypothesis.beam_score) for hypothesis in unclear.nbest]
        assert shares == pytest.approx([mass / sum(masses) for mass in masses])
    assert beam_search(X, logits=True).confidence == pytest.approx(math.exp(beam_search(X, logits=True).score))
    assert greedy_decode(X).confidence is None
    for logits in (False, True):
        greedy = greedy_decode(X, rescore=True, logits=logits)
        assert greedy.confidence == pytest.approx(math.exp(greedy.acoustic_score))
    assert greedy_decode(X - 0.5, rescore=True).confidence is None
    assert beam_search(X[:0]).confidence == 1.0
    assert beam_search(torch.full((2, 3), -torch.inf)).confidence is None


@pytest.mark.usefixtures("core")
def test_dict_and_json() -> None:
    found = decode()
    values = found.to_dict()
    assert values["text"] == found.text
    assert values["tokens"] == list(found.tokens)
    assert values["words"] == list(found.words or ())
    assert (values["score"], values["confidence"]) == (found.score, found.confidence)
    assert (values["certified"], values["lost"], values["exact"]) == (found.certified, found.lost, True)
    assert "path_score" not in values
    assert "problem" not in values
    assert [one["text"] for one in values["nbest"]] == [one.text for one in found.nbest]
    assert json.loads(found.to_json()) == values
    assert found.to_json(indent=2).count("\n") > 10
    assert found.to_json().endswith("}\n")
    assert found.to_json().count("\n") == 1
    assert "nbest" not in decode(nbest=1).to_dict()
    plain = greedy_decode(X).to_dict()
    assert set(plain) == {"tokens", "lm_score", "hotword_score", "exact", "path_score"}
    none = beam_search(torch.full((2, 3), -torch.inf))
    assert none.to_dict() == {"text": "", "tokens": [], "problem": none.problem}
    json.loads(none.to_json())


@pytest.mark.usefixtures("core")
def test_json_holds_no_numbers_that_json_does_not_know() -> None:
    for found in (
        beam_search(torch.tensor([[0.0, -torch.inf]]), beam_width=4, nbest=2),
        greedy_decode(torch.full((2, 3), -torch.inf)),
        greedy_decode(torch.zeros(0, 3), rescore=True),
    ):
        json.loads(found.to_json(), parse_constant=pytest.fail)


@pytest.mark.usefixtures("core")
def test_the_table() -> None:
    found = decode()
    lines = repr(found).splitlines()
    assert lines[0].startswith("Decoding: 3 hypotheses, lost ")
    assert lines[0].endswith("certified")
    assert len(lines) == 5
    for line, hypothesis in zip(lines[2:], found.nbest, strict=True):
        assert line.split()[0] == f"{hypothesis.score:.2f}"
        assert repr(hypothesis.text) in line
    assert "tokens" in repr(beam_search(X)).splitlines()[1]
    many = repr(beam_search(X, beam_width=30, nbest=30)).splitlines()
    assert many[-1].strip() == "... 18 more"
    long = repr(beam_search(emissions("held", 900, 5)))
    assert max(map(len, long.splitlines())) < 100
    greedy = repr(greedy_decode(X))
    assert greedy.startswith("Decoding: 1 hypothesis, path score ")
    assert repr(beam_search(torch.full((2, 3), -torch.inf))).startswith("Decoding: no hypothesis: no labelling has")
    assert repr(Decoding(())).startswith("Decoding: 0 hypotheses")
