"""The decoders against those whose faces they have: by the value of the objective, never by the text alone.

The objective of a text is computed apart from all decoders: by the probability of all its spellings in float64, and a
dictionary of n-grams.
"""

from __future__ import annotations

import importlib.util
import math
import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ctckit.compat import pyctcdecode as ours
from ctckit.compat.torchaudio import ctc_decoder
from tests.compat.sentences import ARPA, LABELS, LETTERS, SENTENCES, WORDS, heard
from tests.tools.arpa_files import random_model
from tests.tools.ngram_oracle import DictionaryModel
from tests.tools.text_oracle import text_score

pytestmark = [pytest.mark.usefixtures("core"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

REASON = "is not installed: a peer of ctckit.compat"
ROUNDING = 1e-4  # nats; peers compute in float32


@pytest.fixture
def pyctcdecode() -> Any:
    pytest.importorskip("kenlm", reason=f"kenlm {REASON}")
    return pytest.importorskip("pyctcdecode", reason=f"pyctcdecode {REASON}")


@pytest.fixture
def torchaudio_decoder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchaudio's module, without the rest of torchaudio, which may be for another torch."""
    pytest.importorskip("flashlight.lib.text.decoder", reason=f"flashlight {REASON}")
    package = importlib.util.find_spec("torchaudio")
    if package is None or package.submodule_search_locations is None:
        pytest.skip(f"torchaudio {REASON}")
    stub = types.ModuleType("torchaudio.utils")
    stub._download_asset = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchaudio", types.ModuleType("torchaudio"))
    monkeypatch.setitem(sys.modules, "torchaudio.utils", stub)
    path = Path(package.submodule_search_locations[0]) / "models" / "decoder" / "_ctc_decoder.py"
    spec = importlib.util.spec_from_file_location("torchaudio_decoder", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def log_softmax(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = x - np.log(np.exp(x).sum(1, keepdims=True))
    return result


def rows_of(words: list[str], labels: list[str]) -> list[list[int]]:
    return [[labels.index(letter) for letter in word] for word in words]


def sentences(sharpness: float, end: str = "") -> Iterator[np.ndarray]:
    """What a model has heard."""
    for seed in range(30):
        r = random.Random(seed)  # noqa: S311
        yield heard(" ".join(r.choice(SENTENCES).split()[: r.randint(3, 7)]) + end, seed, sharpness)


class Objective:
    """J(text) of pyctcdecode's weights."""

    def __init__(
        self, logits: np.ndarray, labels: list[str], arpa: str | None, known: set[str], **weights: Any
    ) -> None:
        self.rows, self.labels, self.known = log_softmax(logits).tolist(), labels, known
        self.oracle = None if arpa is None else DictionaryModel(arpa)
        self.alpha, self.beta = weights.get("alpha", 0.5), weights.get("beta", 1.5)
        self.offset, self.boundary = weights.get("unk_score_offset", -10.0), weights.get("lm_score_boundary", True)

    def __call__(self, text: str) -> float:
        words = text.split()
        total = text_score(self.rows, rows_of(words, self.labels), 1, 0)
        if self.oracle is not None:
            total += self.alpha * self.oracle.score(words, bos=self.boundary, eos=self.boundary)
            total += self.beta * len(words)
            total += self.alpha * math.log(10) * self.offset * sum(word not in self.known for word in words)
        return total


def test_a_whole_beam_is_never_worse_than_pyctcdecode(pyctcdecode: Any, tmp_path: Path) -> None:
    """With room for every prefix the search is exact: no other decoder can be better, on any case."""
    labels, words = ["", " ", "a", "b"], ["a", "ab", "ba", "bb"]
    better = 0
    for seed in range(40):
        r = random.Random(seed)  # noqa: S311
        arpa = random_model(r, words, r.randint(2, 3))
        path = tmp_path / f"{seed}.arpa"
        path.write_text(arpa)
        weights: dict[str, Any] = {
            "alpha": r.choice((0.3, 0.5, 1.0)),
            "beta": r.choice((0.0, 1.5)),
            "unk_score_offset": r.choice((-10.0, -3.0)),
            "lm_score_boundary": r.random() < 0.7,
        }
        unigrams = r.choice((words, words, ["a", "bb"]))
        x = r.choice((1.0, 2.0)) * np.random.default_rng(seed).standard_normal((6, len(labels)))
        options: dict[str, Any] = {"beam_width": 5000, "beam_prune_logp": -1e9, "token_min_logp": -1e9}
        theirs = pyctcdecode.build_ctcdecoder(labels, str(path), unigrams, **weights)
        mine = ours.build_ctcdecoder(labels, path, unigrams, **weights)
        value = Objective(x, labels, arpa, set(unigrams), **weights)
        best = mine.decode_beams(x, **options)[0]
        assert best[4] == pytest.approx(value(best[0]), abs=2e-4)
        their_best = max(value(theirs.decode_beams(x, **options)[0][0]), value(theirs.decode(x, **options)))
        assert value(best[0]) >= their_best - ROUNDING, seed
        better += value(best[0]) > their_best + ROUNDING
    assert better  # pyctcdecode takes an empty last word for an unknown one, say


@pytest.mark.parametrize("has_model", [True, False])
@pytest.mark.parametrize("width", [10, 100])
def test_at_the_same_width_the_objective_is_better_than_pyctcdecode_s(
    has_model: bool, width: int, pyctcdecode: Any, tmp_path: Path
) -> None:
    (tmp_path / "lm.arpa").write_text(ARPA)
    arguments = (str(tmp_path / "lm.arpa"), WORDS) if has_model else ()
    theirs, mine = pyctcdecode.build_ctcdecoder(LABELS, *arguments), ours.build_ctcdecoder(LABELS, *arguments)
    differences = []
    for x in sentences(4.0):
        value = Objective(x, LABELS, ARPA if has_model else None, set(WORDS))
        found, expected = (value(decoder.decode(x, beam_width=width)) for decoder in (mine, theirs))
        differences.append(found - expected)
    assert sum(differences) > 0
    # A narrow beam may be lucky. Without a model, texts of nearly the same probability differ in how many of their
    # spellings are in the beam.
    least = -ROUNDING if has_model and width > 10 else -0.5
    assert sum(difference < least for difference in differences) <= (2 if width == 10 else 0), differences


def test_hotwords_are_worth_the_same_as_in_pyctcdecode(pyctcdecode: Any) -> None:
    labels = ["", " ", "a", "b"]
    theirs, mine = pyctcdecode.build_ctcdecoder(labels), ours.build_ctcdecoder(labels)
    options: dict[str, Any] = {"beam_width": 5000, "beam_prune_logp": -1e9, "token_min_logp": -1e9}
    for seed in range(5):
        x = np.random.default_rng(seed).standard_normal((5, 4))
        for hotwords in (["ab"], ["a", "bb"]):
            found = mine.decode_beams(x, **options, hotwords=hotwords, hotword_weight=1.5)
            expected = theirs.decode_beams(x, **options, hotwords=hotwords, hotword_weight=1.5)
            their_gains = {text: score - acoustic for text, _, _, acoustic, score in expected}
            assert {beam[0] for beam in found} == set(their_gains)
            for text, _, _, acoustic, score in found:
                assert score - acoustic == pytest.approx(their_gains[text], abs=1e-6)


def test_word_frames_have_pyctcdecode_s_form(pyctcdecode: Any) -> None:
    """The times of a sure model leave no choice."""
    theirs, mine = pyctcdecode.build_ctcdecoder(LABELS), ours.build_ctcdecoder(LABELS)
    for x in sentences(30.0):
        assert mine.decode_beams(x)[0][2] == theirs.decode_beams(x)[0][2]


@pytest.mark.parametrize("log_add", [False, True])
@pytest.mark.parametrize("width", [10, 50])
def test_at_the_same_width_the_objective_is_better_than_torchaudio_s(
    log_add: bool, width: int, torchaudio_decoder: Any, tmp_path: Path
) -> None:
    tokens = ["-", "|", *LETTERS]
    (tmp_path / "lm.arpa").write_text(ARPA)
    (tmp_path / "lexicon.txt").write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in WORDS))
    oracle = DictionaryModel(ARPA)
    differences = []
    for number, logits in enumerate(sentences(3.0 if width == 50 else 4.0, " ")):
        x = torch.from_numpy(logits).log_softmax(1).float()
        weights = (
            {"lm_weight": 2.0, "word_score": 0.0, "sil_score": 0.0},
            {"lm_weight": 1.0, "word_score": 0.5, "sil_score": -0.3},
        )[number % 2]
        biased = x.double()
        biased[:, 1] += weights["sil_score"]

        def value(words: list[str], biased: torch.Tensor = biased, weights: dict[str, float] = weights) -> float:
            acoustic = text_score(biased.tolist(), rows_of(words, tokens), 1, 0, best_path=not log_add)
            lm_score = oracle.score(words) / math.log(10)
            return acoustic + weights["lm_weight"] * lm_score + weights["word_score"] * len(words)

        arguments: Any = (str(tmp_path / "lexicon.txt"), tokens, str(tmp_path / "lm.arpa"))
        options: dict[str, Any] = {**weights, "beam_size": width, "log_add": log_add}
        found = ctc_decoder(*arguments, **options)(x[None])[0][0]
        expected = torchaudio_decoder.ctc_decoder(*arguments, **options)(x[None])[0][0]
        assert type(found)._fields == type(expected)._fields
        assert (found.tokens.dtype, found.timesteps.dtype) == (expected.tokens.dtype, expected.timesteps.dtype)
        assert found.score <= value(found.words) + ROUNDING
        if found.words == expected.words and not log_add:
            assert found.score >= expected.score - ROUNDING  # the same number in the same unit
        differences.append(value(found.words) - value(expected.words))
    assert sum(differences) > 0
    # A narrow beam may be lucky.
    assert sum(difference < -ROUNDING for difference in differences) <= (2 if width == 10 else 0), differences


def test_tokens_without_a_lexicon_are_torchaudio_s(torchaudio_decoder: Any) -> None:
    tokens = ["-", "|", "a", "b", "c"]
    options: dict[str, Any] = {"nbest": 4, "beam_size": 500, "sil_score": -0.4}
    for seed in range(8):
        x = (2 * torch.randn(7, 5, generator=torch.Generator().manual_seed(seed))).log_softmax(1)[None]
        expected = torchaudio_decoder.ctc_decoder(None, tokens, **options)(x)[0]
        found = ctc_decoder(None, tokens, **options)(x)[0]
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.score == pytest.approx(theirs.score, abs=ROUNDING)
            assert mine.words == theirs.words == []


def test_torchaudio_takes_other_indices_for_a_token_model(torchaudio_decoder: Any) -> None:
    """Why `lm` without a lexicon does not give what torchaudio's gives: its model is asked for other tokens."""
    tokens = ["-", "|", "a", "b", "c"]
    made = torchaudio_decoder._get_word_dict(None, "lm.arpa", None, torchaudio_decoder._Dictionary(tokens), "<unk>")
    assert [made.get_entry(k) for k in range(5)] != tokens
