"""The example with language models: its models are right, and it reports what it promises."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ctckit

for needed in ("tqdm", "rapidfuzz", "rich"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.usefixtures("core")

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXTS = ["an apple a day", "a dog and a cat", "the cat can see the dog", "it's a tree", "see the apple tree", "a a"]


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("noisy_letters")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("neural_lm")


@pytest.fixture
def network(example: Any) -> Any:
    torch.manual_seed(0)
    return example.LetterModel().eval()


def test_sentences_are_spelt_in_letters(letters: Any) -> None:
    found = letters.sentences()
    assert len(found) > 1000
    assert len(set(found)) == len(found)
    allowed = set(letters.VOCABULARY[2:]) | {" "}
    assert all(set(text) <= allowed and len(text.split()) >= 4 and len(text) <= 100 for text in found)


def test_a_channel_without_noise_is_read_without_errors(letters: Any, example: Any) -> None:
    heard = letters.hear(TEXTS, letters.Channel(noise=0.05), seed=0)
    for row, frames in zip(heard.emissions, heard.frames, strict=True):
        torch.testing.assert_close(row[:frames].exp().sum(1), torch.ones(frames))
    assert example.texts_of(example.decode(heard)) == TEXTS
    assert example.texts_of(example.greedily(heard)) == TEXTS
    assert example.errors(["a dog", "x"], ["a dot", "xy z"]) == (4 / 9, 3 / 4)


def test_the_ngram_model_is_that_of_witten_and_bell(example: Any, tmp_path: Path) -> None:
    example.write_arpa(["ab", "aa b"], tmp_path / "lm.arpa", 2)
    lm = ctckit.NGram(tmp_path / "lm.arpa")
    # One letter: a 3, b 2, | 1, </s> 2 of 8 with 4 kinds; 29 kinds in all. After "a": a 1, b 1, | 1 with 3 kinds.
    one = {"a": (3 + 4 / 29) / 12, "b": (2 + 4 / 29) / 12, "z": 4 / 29 / 12}
    expected = {"a": (1 + 3 * one["a"]) / 6, "b": (1 + 3 * one["b"]) / 6, "z": 3 * one["z"] / 6}
    _, after = lm.advance(lm.initial(), "a")
    for token, chance in expected.items():
        assert math.exp(lm.advance(after, token)[0]) == pytest.approx(chance, rel=1e-4)
    example.write_arpa(TEXTS, tmp_path / "lm.arpa", 4)
    lm = ctckit.NGram(tmp_path / "lm.arpa")
    for context in ("", "t", "th", "the", "xyz"):
        state = lm.initial()
        for token in context:
            _, state = lm.advance(state, token)
        total = sum(math.exp(lm.advance(state, token)[0]) for token in [*example.VOCABULARY[1:], "</s>"])
        assert total == pytest.approx(1, abs=1e-4)


@torch.inference_mode()
def test_the_network_s_scores_are_those_of_its_steps(example: Any, network: Any) -> None:
    """A batch of unequal texts scores each as the sum of its letters and its end."""
    scores = network.log_probs_of([example.classes_of(text) for text in TEXTS])
    for text, score in zip(TEXTS, scores.tolist(), strict=True):
        row = [example.ENDS, *example.classes_of(text)]
        log_probs, _ = network(torch.tensor([row]))
        assert score == pytest.approx(sum(float(log_probs[0, k, c]) for k, c in enumerate([*row[1:], example.ENDS])))


@torch.inference_mode()
def test_the_search_gains_what_the_network_says(example: Any, letters: Any, network: Any) -> None:
    heard = letters.hear(TEXTS[:3], letters.Channel(), seed=1)
    scorer = example.NeuralScorer(network, 0.8, 1.5)
    for one in example.decode(heard, scorers=[scorer], nbest=4):
        for hypothesis in one.nbest:
            tokens = hypothesis.tokens
            expected = 0.8 * float(network.log_probs_of([tokens])) + 1.5 * len(tokens)
            assert hypothesis.score - hypothesis.acoustic_score == pytest.approx(expected, abs=1e-3)


def test_the_scorer_forgets_at_each_search(example: Any, letters: Any, network: Any) -> None:
    sizes = []
    for texts in (TEXTS[:1], TEXTS[:1] * 6):
        scorer = example.NeuralScorer(network, 0.8, 1.5)
        most = 0
        advance = scorer.advance

        def watched(states: Any, tokens: Any, scorer: Any = scorer, advance: Any = advance) -> Any:
            nonlocal most
            most = max(most, len(scorer._steps))
            return advance(states, tokens)

        scorer.advance = watched
        heard = letters.hear(texts, letters.Channel(), seed=1)
        # The same item again and again.
        count = len(texts)
        same = heard._replace(emissions=heard.emissions[:1].expand(count, -1, -1), frames=heard.frames[:1] * count)
        example.decode(same, scorers=[scorer])
        sizes.append(most)
    assert sizes[0] == sizes[1] > 50


def test_reranking_by_both_has_the_scores_of_the_search_with_both(
    example: Any, letters: Any, network: Any, tmp_path: Path
) -> None:
    example.write_arpa(TEXTS, tmp_path / "lm.arpa", 3)
    ngrams, weights, half = ctckit.NGram(tmp_path / "lm.arpa"), example.Weights(0.8, 1.0), example.Weights(0.4, 0.5)
    heard = letters.hear(TEXTS[:2], letters.Channel(0.4), seed=1)
    first = example.with_ngrams(heard, ngrams, weights, beam_width=32, nbest=32)
    both = example.with_ngrams(heard, ngrams, half, scorers=[example.NeuralScorer(network, *half)], nbest=4)
    for listed, fused in zip(example.reranked(first, network, weights, share=0.5), both, strict=True):
        scores = {one.tokens: one.score for one in listed.nbest}
        common = [one for one in fused.nbest if one.tokens in scores]
        assert common
        assert [one.score for one in common] == pytest.approx([scores[one.tokens] for one in common], abs=1e-3)


def test_training_is_repeatable_and_lowers_the_bits(example: Any, network: Any, tmp_path: Path) -> None:
    outcomes = []
    for _ in range(2):
        torch.manual_seed(0)
        outcomes.append(example.train(TEXTS * 12, steps=8))
    for a, b in zip(outcomes[0].parameters(), outcomes[1].parameters(), strict=True):
        assert torch.equal(a, b)
    example.write_arpa(TEXTS, tmp_path / "lm.arpa", 3)
    lm = ctckit.NGram(tmp_path / "lm.arpa")
    assert example.bits(TEXTS, lm, outcomes[0])[1] < example.bits(TEXTS, lm, network)[1] - 0.2


def test_a_short_run_reports(example: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    words = " ".join(TEXTS).split()
    made = list(dict.fromkeys(" ".join(random.choice(words, 5)) for _ in range(200)))
    monkeypatch.setattr(example, "sentences", lambda: made)
    monkeypatch.setattr(example, "TUNING", 4)
    monkeypatch.setattr(example, "LISTED", 8)
    monkeypatch.setenv("COLUMNS", "120")

    example.main(["--steps", "3", "--test", "4"])

    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("│")[1].strip(): line.split("│")[2:5] for line in lines if line.startswith("│")}
    assert len(rows) == 7
    letters = {name: float(cells[0].strip(" %")) for name, cells in rows.items()}
    assert letters["4-gram"] < 0.5 * letters["no model: greedy decoding"]
    assert lines[-1].startswith("all in ")


def test_bad_options_are_refused(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main(["--order", "1"])
    assert "--order is 1, but must be at least 2" in capsys.readouterr().err
