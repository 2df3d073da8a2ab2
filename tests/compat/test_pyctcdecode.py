"""The decoder with pyctcdecode's face."""

from __future__ import annotations

import inspect
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit.compat.pyctcdecode import BeamSearchDecoderCTC, LMState, build_ctcdecoder
from tests.compat.sentences import ARPA, LABELS, heard
from tests.tools.text_oracle import text_score

pytestmark = pytest.mark.usefixtures("core")

SAID = "the cat sat on the mat"
PIECES = ["▁the", "▁c", "at", "▁cat", "▁", "▁s", "s", "▁the▁", ""]


@pytest.fixture
def decoder(tmp_path: Path) -> BeamSearchDecoderCTC:
    (tmp_path / "lm.arpa").write_text(ARPA)
    return build_ctcdecoder(LABELS, tmp_path / "lm.arpa")


def one_hot(labels: list[str], path: list[str], sharpness: float = 9.0) -> np.ndarray:
    logits: np.ndarray = sharpness * np.eye(len(labels))[[labels.index(label) for label in path]]
    return logits


def test_signatures_are_pyctcdecode_s() -> None:
    theirs = pytest.importorskip("pyctcdecode", reason="pyctcdecode is not installed: a peer of ctckit.compat")
    names = ("decode", "decode_beams", "decode_batch", "decode_beams_batch", "reset_params", "save_to_dir", "__init__")
    pairs = [(build_ctcdecoder, theirs.build_ctcdecoder)]
    pairs += [(getattr(BeamSearchDecoderCTC, name), getattr(theirs.BeamSearchDecoderCTC, name)) for name in names]
    for ours, expected in pairs:
        parameters = [
            [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
            for function in (ours, expected)
        ]
        assert parameters[0] == parameters[1], ours


def test_beams(decoder: BeamSearchDecoderCTC) -> None:
    x = heard(SAID, 1)
    beams = decoder.decode_beams(x)
    assert decoder.decode(x) == beams[0][0] == SAID
    assert beams[0][1] == LMState(("mat",))
    for text, state, words, acoustic, score in beams:
        assert type(text) is str
        assert type(acoustic) is type(score) is float
        assert state == LMState((text.split()[-1],))
        assert [word for word, _ in words] == text.split()
        ends = [0, *(frame for _, frames in words for frame in frames), len(x)]
        assert ends == sorted(ends)
    assert len({beam[0] for beam in beams}) == len(beams)
    scores = [beam[4] for beam in beams]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] <= 10.0  # beam_prune_logp
    everything = decoder.decode_beams(x, beam_prune_logp=-math.inf)
    assert everything[0][4] - everything[-1][4] > 10.0
    assert len(decoder.decode_beams(x, beam_prune_logp=3.0)) == 1  # as 0: nothing is worse than the best


def test_frames_are_those_of_the_alignment(decoder: BeamSearchDecoderCTC) -> None:
    x = heard(SAID, 2)
    _, _, words, _, _ = decoder.decode_beams(x)[0]
    vocabulary = ctckit.Vocabulary([None, *LABELS[1:]], word_separator=" ", blank=0)
    expected: Any = ctckit.align(torch.from_numpy(x), SAID, vocabulary, logits=True)
    assert words == [(word.text, (word.start, word.end)) for word in expected.words]


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
def test_log_probabilities_are_exact(sharpness: float) -> None:
    decoder = build_ctcdecoder(["", " ", "a", "b"])
    x = sharpness * np.random.default_rng(0).standard_normal((6, 4))
    log_probs = x - np.log(np.exp(x).sum(1, keepdims=True))
    options: dict[str, Any] = {"beam_width": 2000, "beam_prune_logp": -math.inf, "token_min_logp": -math.inf}
    beams = decoder.decode_beams(x, **options)
    found = {text: acoustic for text, _, _, acoustic, _ in beams}
    assert all(state is None and score == acoustic for _, state, _, acoustic, score in beams)
    for text, acoustic in found.items():
        rows = [[2 + (letter == "b") for letter in word] for word in text.split()]
        assert acoustic == pytest.approx(text_score(log_probs.tolist(), rows, 1, 0), abs=1e-5), text
    # All texts are found: their probabilities add up to 1.
    assert math.fsum(map(math.exp, found.values())) == pytest.approx(1.0)
    assert decoder.decode_beams(torch.from_numpy(log_probs), **options)[0][0] == beams[0][0]


def test_pieces() -> None:
    decoder = build_ctcdecoder(PIECES)
    path = ["", "▁the", "", "▁c", "at", "s", "", "▁", "▁the▁", "at", "▁cat", "▁cat", ""]
    text, _, words, _, _ = decoder.decode_beams(one_hot(PIECES, path))[0]
    assert text == "the cats the at cat"
    assert words == [("the", (1, 2)), ("cats", (3, 6)), ("the", (8, 9)), ("at", (9, 10)), ("cat", (10, 12))]


def test_two_spellings_of_a_text_are_one_beam() -> None:
    decoder = build_ctcdecoder(PIECES)
    x = np.full((2, len(PIECES)), -20.0)
    x[0, [1 + PIECES.index("▁the"), PIECES.index("▁c"), PIECES.index("▁cat")]] = [-20.0, 0.0, 0.0]
    x[1, [PIECES.index("at"), PIECES.index("")]] = [0.0, 0.2]
    beams = decoder.decode_beams(x)
    found = {text: acoustic for text, _, _, acoustic, _ in beams}
    p = math.exp(0.2) / (1 + math.exp(0.2))
    # "▁c" and "at"; or "▁cat" and the blank. "▁cat", "at" is another text.
    assert found["cat"] == pytest.approx(math.log(0.5 * (1 - p) + 0.5 * p), abs=1e-3)
    assert found["catat"] == pytest.approx(math.log(0.5 * (1 - p)), abs=1e-3)


def test_labels_without_a_space() -> None:
    labels = ["a", "b", ""]
    text, _, words, _, _ = build_ctcdecoder(labels).decode_beams(one_hot(labels, ["", "a", "b", "", "a"]))[0]
    assert (text, words) == ("aba", [("aba", (1, 5))])


def test_nothing_is_said(decoder: BeamSearchDecoderCTC) -> None:
    for frames in (0, 3):
        text, state, words, _, _ = decoder.decode_beams(one_hot(LABELS, [""] * frames))[0]
        assert (text, state, words) == ("", LMState(("<s>",)), [])
    assert decoder.decode(np.zeros((0, len(LABELS)))) == ""


def test_batches_are_the_same(decoder: BeamSearchDecoderCTC) -> None:
    items = [heard(SAID[: 4 + 3 * k], k) for k in range(6)]
    flat = np.zeros((4, len(LABELS)))  # no class is above the threshold: the best one counts all the same
    flat[:, 2] = 0.01
    items += [flat, items[0].astype(np.float32), items[1][:0]]
    hotwords: dict[str, Any] = {"hotwords": ["cats"], "hotword_weight": 3.0}
    together = decoder.decode_beams_batch(None, items, **hotwords)
    assert decoder.decode_batch(None, items, **hotwords) == [beams[0][0] for beams in together]
    for item, found in zip(items, together, strict=True):
        alone = decoder.decode_beams(item, **hotwords)
        assert found == [(text, words, acoustic, score) for text, _, words, acoustic, score in alone]
    for pool in ("a pool", 3):
        with pytest.warns(UserWarning, match="pool is not used: items are decoded by"):
            assert decoder.decode_batch(pool, items[:2]) == decoder.decode_batch(None, items[:2])
    assert decoder.decode_batch(None, []) == []
    assert decoder.decode_batch(None, np.stack([items[0], items[0]])) == [decoder.decode(items[0])] * 2


def test_the_best_class_of_a_frame_makes_new_prefixes() -> None:
    labels = ["", " ", *(chr(0x4E00 + k) for k in range(3000))]
    decoder = build_ctcdecoder(labels)
    x = np.zeros((2, len(labels)))
    x[0, 7], x[1, 9] = 2.5, 2.5  # of 0.4 %, below exp(-5)
    assert decoder.decode(x) == labels[7] + labels[9]
    sharp = one_hot(labels[:12], [labels[7], labels[9]], 12.0)
    assert build_ctcdecoder(labels[:12]).decode(sharp, token_min_logp=0.0) == labels[7] + labels[9]


def test_classes_below_the_threshold_make_no_prefix() -> None:
    decoder = build_ctcdecoder(["", " ", "a", "b"])
    x = np.log([[0.004, 0.001, 0.99, 0.005]])
    assert {beam[0] for beam in decoder.decode_beams(x)} == {"a", ""}
    options: dict[str, Any] = {"token_min_logp": -20.0, "beam_prune_logp": -20.0}
    assert {beam[0] for beam in decoder.decode_beams(x, **options)} == {"a", "", "b"}


def occurrences(text: str, phrase: str) -> int:
    words, parts = text.split(), phrase.split()
    return sum(words[k : k + len(parts)] == parts for k in range(len(words)))


def test_hotwords_are_phrases() -> None:
    decoder = build_ctcdecoder(["", " ", "a", "b"])
    x = np.random.default_rng(1).standard_normal((7, 4))
    phrases = ["ab", " b  a", "", "ab"]
    options: dict[str, Any] = {"beam_width": 4000, "beam_prune_logp": -math.inf, "token_min_logp": -math.inf}
    plain = {text: score for text, _, _, _, score in decoder.decode_beams(x, **options)}
    scored = decoder.decode_beams(x, **options, hotwords=iter(phrases), hotword_weight=2.5)
    assert len(scored) == len(plain)
    for text, _, _, acoustic, score in scored:
        expected = 2.5 * occurrences(text, "ab") + 2 * 2.5 * occurrences(text, "b a")
        assert score - acoustic == pytest.approx(expected, abs=1e-6), text
    assert any(occurrences(beam[0], "b a") for beam in scored)
    nothing = decoder.decode_beams(x, **options, hotwords=["", " "])
    assert {text: score for text, _, _, _, score in nothing} == plain
    long = " ".join("ab" * 9)  # 18 words of 10 nats are too much for one phrase
    text, _, _, acoustic, score = decoder.decode_beams(one_hot(["", " ", "a", "b"], [*long]), hotwords=[long])[0]
    assert text == long
    assert score - acoustic == pytest.approx(74.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"beam_width": 0}, ValueError, "beam_width is 0, but must be from 1"),
        ({"beam_width": 2.0}, TypeError, "beam_width"),
        ({"beam_prune_logp": math.nan}, ValueError, "beam_prune_logp is NaN"),
        ({"beam_prune_logp": None}, TypeError, "beam_prune_logp is None, a NoneType, but must be a number"),
        ({"token_min_logp": "low"}, TypeError, "token_min_logp is 'low', a str"),
        ({"hotwords": "cat"}, TypeError, "hotwords is 'cat', but must be a list of phrases"),
        ({"hotwords": ["CAT"]}, ValueError, "hotwords has 'CAT'"),
        ({"hotwords": ["cat"], "hotword_weight": 80.0}, ValueError, "hotword_weight is 80.0"),
    ],
)
def test_wrong_arguments(
    arguments: dict[str, Any], error: type[Exception], message: str, decoder: BeamSearchDecoderCTC
) -> None:
    with pytest.raises(error, match=message):
        decoder.decode(heard(SAID, 0), **arguments)


def test_wrong_logits(decoder: BeamSearchDecoderCTC) -> None:
    x = heard(SAID, 0)
    for wrong in (x[None], x[:, :5], x[0]):
        with pytest.raises(ValueError, match=r"logits has shape \(.*\), but must be \(T, "):
            decoder.decode(wrong)
    probabilities = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    with pytest.raises(ValueError, match=r"logits are probabilities, .* pass their logarithms"):
        decoder.decode(probabilities)
    assert decoder.decode(np.log(probabilities)) == decoder.decode(x)
    for value in (np.nan, np.inf):
        broken = x.copy()
        broken[3, 1] = value
        with pytest.raises(ValueError, match=r"hold (NaN|.inf) in frame 3"):
            decoder.decode(broken)
    broken = x.copy()
    broken[3] = -np.inf
    with pytest.raises(ValueError, match=r"logits have no text: no labelling .*has a probability above 0"):
        decoder.decode(broken)
    broken[3, 0] = 0.0  # only the blank is possible there
    assert decoder.decode(broken)


def test_logits_of_any_kind(decoder: BeamSearchDecoderCTC) -> None:
    x = heard(SAID, 4)
    expected = decoder.decode(x)
    read_only = x.copy()
    read_only.flags.writeable = False
    kinds: list[Any] = [read_only, x[::-1][::-1], np.asfortranarray(x), x.astype(np.float32), x.astype(np.float16)]
    kinds += [torch.from_numpy(x).requires_grad_(), torch.from_numpy(x).bfloat16()]
    for kind, _ in itertools.product(kinds, range(2)):
        assert decoder.decode(kind) == expected
    decoder.cleanup()
    assert decoder.decode(x) == expected
