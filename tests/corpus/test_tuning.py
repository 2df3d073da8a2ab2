"""The search for weights: it finds those that are known, and what it says is what decoding gives."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit import corpus
from ctckit.corpus.tuning import Tuning, tune
from ctckit.corpus.weight_search import WeightSearch
from ctckit.corpus.weight_task import WeightJob, WeightPoint, WeightTask
from tests.tools import corpora
from tests.tools.language_models import unigrams, write_ambiguous

pytest.importorskip("rapidfuzz")
pytestmark = pytest.mark.usefixtures("core")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, corpus.DecodeTask, tuple[float, float]]:
    monkeypatch.chdir(tmp_path)
    manifest, lm, span = write_ambiguous(Path("made"))
    return manifest, corpus.DecodeTask(vocabulary="made/vocab.json", lm=lm, lm_weight=0.1, word_bonus=0.0), span


Made = tuple[Path, corpus.DecodeTask, tuple[float, float]]


def rates_of(task: corpus.DecodeTask, manifest: Path) -> corpus.ErrorRates:
    rates = corpus.ErrorRates()
    corpus.process(task, manifest, watch=[rates.see])
    return rates


def same(a: Tuning, b: Tuning) -> bool:
    left, right = dataclasses.asdict(a), dataclasses.asdict(b)
    return all(np.array_equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("by", ["wer", "cer"])
def test_the_known_weight_is_found(made: Made, by: Any) -> None:
    manifest, task, (low, high) = made
    before = rates_of(task, manifest)
    assert before.word_errors == 16  # the common words are all wrong
    found = tune(task, manifest, by=by)
    assert low < found.task.lm_weight < high
    assert (found.before.word_errors, found.after.word_errors) == (16, 0)
    assert (found.before.words, found.before.characters) == (before.words, before.characters) == (24, 72)
    assert found.before.character_errors == before.character_errors
    assert (found.items, found.faults, found.at_edge) == (24, {}, ())
    change = found.after.rate(by) - found.before.rate(by)
    assert found.change[0] < change < found.change[1] < 0
    # Nothing but the weights and the width is changed.
    changed: dict[str, Any] = {"lm_weight": 0.1, "word_bonus": 0.0, "beam_width": 16}
    assert dataclasses.replace(found.task, **changed) == task
    after = rates_of(found.task, manifest)
    assert (after.word_errors, after.character_errors) == (0, 0)
    # The table knows where the words are right, for a bonus that changes nothing.
    column = list(found.word_bonuses).index(0.0)
    right = [weight for weight, rate in zip(found.lm_weights, found.error_rates[:, column], strict=True) if rate == 0]
    assert right == [weight for weight in found.lm_weights if low < weight < high]


def test_the_same_for_any_number_of_workers(made: Made) -> None:
    manifest, task, _ = made
    found = [tune(task, manifest, workers=workers) for workers in (1, 1, 2)]
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_scores_are_taken_apart_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put together for other weights, they are the scores that a decoder gives."""
    monkeypatch.chdir(tmp_path)
    names = ["-", "▁a", "a", "▁b", "b", "ab"]
    Path("v.json").write_text(json.dumps(names))
    Path("lm.arpa").write_text(unigrams({"a": 0.3, "ab": 0.1, "b": 0.02, "bab": 0.05}))
    Path("token.arpa").write_text(unigrams({"▁a": 0.3, "a": 0.1, "▁b": 0.02}))
    Path("words.txt").write_text("a\nab\nb\naa\n")
    # (A class is beyond the vocabulary.)
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    np.save("x.npy", x.numpy())
    settings: list[dict[str, Any]] = [
        {"lm": "lm.arpa"}, {"lm": "lm.arpa", "unknown_score": -1.5}, {"lm": "token.arpa", "lm_unit": "token"},
        {"lm": "lm.arpa", "lexicon": "words.txt"}, {"lm": "lm.arpa", "lexicon": "words.txt", "open_lexicon": True},
        {"lm": "lm.arpa", "hotwords": {"ab": 2.0, "b a": 1.0}},
        {"lm": "token.arpa", "lm_unit": "token", "lexicon": "words.txt", "open_lexicon": True},
    ]  # fmt: skip
    compared = 0
    for options in settings:
        task = WeightTask(vocabulary="v.json", blank=0, beam_width=4000, **options)
        for point in (WeightPoint(0.7, -0.4, 4000), WeightPoint(0.0, 1.3, 4000)):
            job = WeightJob("x", 1, emissions="x.npy", text="ab a", points=(point,), is_kept=True)
            result = task(job).result
            assert result is not None
            (parts,) = result["hypotheses"]
            assert result["sizes"] == (2, 4)
            by_key = {key: row for row, key in enumerate(parts.keys.tolist())}
            for weight, bonus in ((0.0, 0.5), (1.1, 2.0), (2.5, -1.0)):
                wide = {"beam_width": 4000, "nbest": 4000, "lm_weight": weight, "word_bonus": bonus}
                decoding: Any = ctckit.Decoder(names, blank=0, **{**options, **wide})(x)
                for found in decoding.nbest:
                    row = by_key[hash(found.tokens)]
                    score = parts.base[row] + weight * parts.log_probs[row] + bonus * parts.words[row]
                    assert found.score == pytest.approx(score, abs=1e-6)
                    compared += 1
    assert compared > 5_000


def test_a_decoder_with_other_weights_is_a_new_decoder(made: Made) -> None:
    manifest, task, _ = made
    x = torch.from_numpy(np.load(manifest.parent / "1.npy"))
    base = ctckit.Decoder(corpora.TOKENS, lm=task.lm, hotwords=["bad"])
    for weight, bonus, width, nbest in ((0.9, 1.0, 8, 4), (0.0, -2.0, (2, 8), 1), (2.0, 0.0, 32, 32)):
        options: Any = {"lm_weight": weight, "word_bonus": bonus, "beam_width": width, "nbest": nbest}
        expected: Any = ctckit.Decoder(corpora.TOKENS, lm=task.lm, hotwords=["bad"], **options)(x)
        found: Any = base.replace(**options)(x)
        assert found.to_dict() == expected.to_dict()
        assert [h.lm_score for h in found.nbest] == [h.lm_score for h in expected.nbest]
    with pytest.raises(ctckit.ArgumentValueError, match="lm_weight is -1"):
        base.replace(lm_weight=-1.0, word_bonus=0.0, beam_width=8, nbest=1)


def test_the_widths_that_are_tried(made: Made) -> None:
    manifest, task, _ = made
    found = tune(task, manifest, beam_widths=[4, 2, 32])
    assert (list(found.widths), found.task.beam_width) == ([2, 4, 32], 2)  # all give the same
    assert list(tune(task, manifest).widths) == [8, 16, 32, 64]
    adaptive = tune(dataclasses.replace(task, beam_width=(4, 16)), manifest)
    assert (adaptive.task.beam_width, adaptive.widths, adaptive.after.word_errors) == ((4, 16), {}, 0)


@pytest.mark.parametrize(
    ("more", "fewer", "is_worse"), [(1, 0, False), (2, 0, True), (3, 1, False), (4, 1, True), (12, 8, False)]
)
def test_a_beam_is_worse_if_chance_does_not_explain_it(more: int, fewer: int, is_worse: bool) -> None:
    """Of 50 items some have an error more, and some an error less, than with the wide beam."""
    narrow, wide = WeightPoint(1.0, 0.0, 4), WeightPoint(1.0, 0.0, 8)

    def do(jobs: Iterator[corpus.Item]) -> Iterator[corpus.Outcome]:
        for number, job in enumerate(jobs):
            assert isinstance(job, WeightJob)
            errors = {4: 1 + (number < more), 8: 1 + (more <= number < more + fewer)}
            found = [(errors[point.beam_width], 0) for point in job.points if not isinstance(point.beam_width, tuple)]
            yield corpus.Outcome(job.id, 1, {"sizes": (9, 30), "errors": found, "hypotheses": []})

    items = [corpus.Item(str(number), 1) for number in range(50)]
    search = WeightSearch(do, items, lambda *_: None, lambda _: None, Counter())
    search.confirm("widths", [narrow, wide])
    assert search.is_worse(narrow, wide, 0) is is_worse
    assert not search.is_worse(wide, narrow, 0)
    assert search.counts_of(narrow) == (450, 50 + more, 1500, 0)


def test_the_end_of_what_is_tried(made: Made) -> None:
    manifest, task, (low, _) = made
    found = tune(task, manifest, lm_weights=(0.0, low - 0.1), word_bonuses=(-1.0, 1.0))
    assert found.after.word_errors == 16
    assert found.task.lm_weight == 0.1  # nothing is better than what was given
    assert found.at_edge == ()
    far = tune(dataclasses.replace(task, lm_weight=2.9), manifest, lm_weights=(2.0, 3.0))
    assert far.after.word_errors == far.before.word_errors == 8
    assert far.at_edge == ()
    at_end = tune(dataclasses.replace(task, lm_weight=2.0), manifest, lm_weights=(1.6, 2.0), word_bonuses=(0.0, 1.0))
    assert at_end.at_edge == ("lm_weight", "word_bonus")


def test_items_that_do_not_count(made: Made) -> None:
    manifest, task, _ = made
    lines = corpora.read_lines(manifest)
    del lines[1]["text"]
    lines[2]["emissions"] = "nowhere.npy"
    broken = np.load("made/4.npy")
    broken[1, 1] = np.nan
    np.save("made/4.npy", broken)
    corpora.write_manifest(manifest, [*lines, "no item"])
    progress: list[tuple[str, int, int]] = []
    found = tune(task, manifest, watch=lambda *step: progress.append(step))
    assert found.faults == {"manifest": 1, "missing": 1, "non_finite": 1}
    assert (found.items, found.before.words, found.after.word_errors) == (21, 21, 0)
    assert progress[:2] == [("starting points", 0, 23), ("starting points", 1, 23)]
    assert progress[-1] == ("confirmation", 21, 21)
    assert tune(task, manifest, limit=3).items == 1
    corpora.write_manifest(manifest, lines[1:3])
    with pytest.raises(corpus.CorpusError, match=r"no item could be decoded: \{'missing': 1\}"):
        tune(task, manifest)
    corpora.write_manifest(manifest, [lines[1]])
    with pytest.raises(corpus.CorpusError, match=r"no item of .made.items\.jsonl. has a text"):
        tune(task, manifest)
    corpora.write_manifest(manifest, [lines[3] | {"text": " "}])
    with pytest.raises(corpus.CorpusError, match="the texts of the manifest have no words"):
        tune(task, manifest)


def test_notes_are_given_once(made: Made) -> None:
    manifest, task, _ = made
    Path("words.txt").write_text("bad\nbed\ncab\ncub\nham\nhum\ndad\ndid\nBAD\n")
    notes: list[str] = []
    found = tune(dataclasses.replace(task, lexicon="words.txt"), manifest, note=notes.append)
    assert found.after.word_errors == 0
    assert len(notes) == 1
    assert "'BAD'" in notes[0]


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"lm": None, "lm_weight": 0.5, "word_bonus": 1.5}, {}, "tuning finds the weights of a language model: name"),
        ({}, {"by": "per"}, "by is 'per'"), ({}, {"lm_weights": (1.0, 1.0)}, "lm_weight is to be from 1 to 1"),
        ({}, {"word_bonuses": (2.0, -1.0)}, "word_bonus is to be from 2 to -1"),
        ({}, {"lm_weights": (-1.0, 1.0)}, "values to try: lm_weight is -1"),
        ({}, {"word_bonuses": (0.0, 80.0)}, "values to try: word_bonus is 80"),
        ({}, {"beam_widths": [0]}, "beam_width is 0"), ({"vocabulary": "no.json"}, {}, "no.json"),
        ({"lm": "no.arpa"}, {}, "no.arpa"), ({}, {"workers": 0}, "workers is 0"),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes(made: Made, options: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    manifest, task, _ = made
    with pytest.raises(corpus.CorpusError, match=message):
        tune(dataclasses.replace(task, **options), manifest, **arguments)
