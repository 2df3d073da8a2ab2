"""The benchmarks of decoding with knowledge and of n-gram models: the made language, the objective, and the rows."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from benchmarks import cases, emission_sets, goals, language, ngrams, word_decoding, word_decoding_tables
from benchmarks.settings import Settings

import ctckit

SETTINGS = Settings(cases=["flat words"], threads=[1], peers={}, quick=True)


def test_the_language_is_what_its_file_says() -> None:
    made, lm = language.language(), ctckit.NGram(language.arpa_file())
    assert lm.counts == (len(made.alone), len(made.after))
    r = random.Random(0)  # noqa: S311
    for _ in range(50):
        words = r.choices([*made.words, "never"], k=r.randint(0, 6))
        expected = 0.5 * lm.score(words) + 1.5 * len(words) - 10.0 * words.count("never")
        assert made.gain(words) == pytest.approx(expected, rel=1e-5)


def test_sentences_are_words_that_follow_each_other() -> None:
    made = language.language()
    for item in range(5):
        classes = language.sentence(np.random.default_rng(item), 60)
        words = language.words_of(classes.tolist())
        assert len(classes) == sum(map(len, words)) + len(words) - 1 <= 60
        assert all((a, b) in made.after for a, b in zip(["<s>", *words[:-1]], words, strict=True))
    assert len(set(language.phrases(50))) == 50


def test_the_objective_is_that_of_the_decoder() -> None:
    emissions = emission_sets.make(cases.DECODING["flat words"]).first(2)
    found = word_decoding.Ours(10, emissions, rescore=True)()
    loss, errors = word_decoding.objective(emissions, [one.tokens for one in found])
    assert -loss == pytest.approx(np.mean([one.score for one in found]), rel=1e-5)
    assert 0 < errors < 1


def test_rows_and_tables_of_decoding() -> None:
    rows = list(word_decoding.measure(SETTINGS))
    assert {row["who"] for row in rows} > {"ctckit", "a language model", "1,000 hotwords"}
    judged = word_decoding.judged([{"ratio": 1, "worse_by": -3.0}, {"ratio": 1, "worse_by": 0.0}, {"problem": "none"}])
    assert [row.get("counts") for row in judged] == [False, True, None]
    shown = [row | {"T, N, C, S": ""} for row in rows]
    assert len(word_decoding_tables.word_decoding_knowledge(shown).rows) == 5
    assert [goals.word_decoding(row) != {} for row in rows[1:]] == [False, True, True, True, True]


def test_rows_and_tables_of_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ngrams, "ORDERS", {"small": (3, 10_000, 100_000)})
    (row,) = ngrams.measure(SETTINGS)
    assert row["bytes_each"] == row["bytes"] / row["ngrams"]
    assert len(word_decoding_tables.ngrams([row]).rows) == 1
    assert set(goals.ngrams(row)) == {"bytes_each", "open_ms"}
    sentences = ngrams.write_arpa(tmp_path / "m.arpa", 3, 50, 400)
    assert math.isfinite(ctckit.NGram(tmp_path / "m.arpa").score(sentences[0]))
