"""Decoding a corpus with a language model, a lexicon and hotwords: their files, and what is said of them."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import ctckit
from ctckit import corpus
from ctckit.corpus.hotword_files import read_hotwords
from ctckit.corpus.tasks import Task
from tests.tools import corpora
from tests.tools.language_models import WORDS, write_model

pytest.importorskip("rapidfuzz")
pytestmark = [pytest.mark.usefixtures("core", "files")]


@pytest.fixture
def files(manifest: Path) -> Path:
    write_model(Path("lm.arpa"))
    Path("words.txt").write_text("\n".join(WORDS))
    Path("names.txt").write_text("bad cab\t3.5\n\nhello\n")
    return manifest


def task(**options: Any) -> corpus.DecodeTask:
    return corpus.DecodeTask(vocabulary="corpus/vocab.json", **options)


def run(manifest: Path, chosen: corpus.DecodeTask, **options: Any) -> corpus.Summary:
    return corpus.process(chosen, manifest, "out.jsonl", **options)


def outcomes(manifest: Path, chosen: corpus.DecodeTask, **options: Any) -> list[corpus.Outcome]:
    return list(corpus.run(chosen, corpus.read_manifest(manifest), **options))


@pytest.mark.parametrize(
    "options",
    [
        {"lm": "lm.arpa"}, {"lm": "lm.arpa", "lm_weight": 1.2, "word_bonus": -0.5, "unknown_score": -3.0},
        {"lexicon": "words.txt"}, {"lexicon": "words.txt", "open_lexicon": True, "unknown_score": -1.0},
        {"lm": "lm.arpa", "lexicon": "words.txt"}, {"hotwords": {"bad cab": 3.5, "hello": 2.0}},
        {"hotwords": ["dad"], "hotword_weight": 4.0}, {"lm": "lm.arpa", "lm_unit": "token"},
    ],
    ids=str,
)  # fmt: skip
def test_a_result_is_that_of_the_decoder(manifest: Path, options: dict[str, Any]) -> None:
    x = [torch.from_numpy(corpora.log_probs(text, index)) for index, text in enumerate(corpora.TEXTS)]
    decoder = ctckit.Decoder(corpora.TOKENS, nbest=3, **options)
    for item, outcome in zip(x, outcomes(manifest, task(**options, nbest=3, error_rates=False)), strict=True):
        expected: Any = decoder(item)
        assert outcome.result == expected.to_dict() | {"frames": 40}
    lm, hotword = outcomes(manifest, task(**options))[1].result, outcomes(manifest, task(hotwords=["cab"]))[1].result
    assert lm is not None
    assert hotword is not None
    assert (lm["lm_score"] != 0) == ("lm" in options)
    assert (hotword["lm_score"], hotword["hotword_score"]) == (0.0, 10.0)


def test_hotwords_of_a_file(manifest: Path) -> None:
    of_file = outcomes(manifest, task(hotwords="names.txt", hotword_weight=2.0))
    assert of_file == outcomes(manifest, task(hotwords={"bad cab": 3.5, "hello": 2.0}))
    assert [outcome.result["hotword_score"] for outcome in of_file if outcome.result] == [0, 3.5, 0, 0, 0, 0, 2.0, 0]


def test_the_same_for_any_number_of_workers(manifest: Path) -> None:
    ctckit.NGram("lm.arpa").save("lm.ctclm")
    Path("words.txt").write_text("cab\nbad\na\nCAB\n")
    chosen = task(lm="lm.ctclm", lexicon="words.txt", open_lexicon=True, hotwords="names.txt", nbest=3)
    found = {}
    for workers in (1, 2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            corpus.process(chosen, manifest, f"{workers}.jsonl", workers=workers)
        found[workers] = Path(f"{workers}.jsonl").read_bytes(), [str(entry.message) for entry in caught]
    assert found[1] == found[2]
    (said,) = found[1][1]
    assert "does not spell 1 of the 4 words of words.txt, which are left out: 'CAB'" in said


def test_for_a_process_in_another_folder() -> None:
    given = task(lm="lm.arpa", lexicon="words.txt", hotwords="names.txt")
    here = str(Path.cwd())
    moved: Any = given.at_absolute_paths()
    assert moved.vocabulary == f"{here}/corpus/vocab.json"
    assert list(moved.files().values()) == [f"{here}/lm.arpa", f"{here}/words.txt", f"{here}/names.txt"]
    assert moved.digest() == given.digest()
    assert task(hotwords={"cab": 1.0}, lm="no.arpa").at_absolute_paths().files() == {"the language model": "no.arpa"}
    assert corpus.LossTask(vocabulary="math:pi").at_absolute_paths() == corpus.LossTask(vocabulary="math:pi")


# ------------------------------------------------------------------------------------------------------------- warnings


def test_a_warning_about_the_task_is_none_about_items(manifest: Path) -> None:
    Path("words.txt").write_text("\n".join(word.upper() for word in WORDS) + "\ncab\n")
    chosen = task(lm="lm.arpa", lexicon="words.txt")
    found = outcomes(manifest, chosen)
    assert {outcome.warnings for outcome in found} == {()}
    (notes,) = {outcome.notes for outcome in found}
    assert "does not spell 13 of the 14 words of words.txt" in notes[0]
    with pytest.warns(corpus.ItemWarning, match="13 of the 14 words") as caught:
        summary = run(manifest, chosen)
    assert (len(caught), summary.warned, summary.done) == (len(notes), 0, 8)


def test_a_model_and_a_lexicon_that_do_not_meet(manifest: Path) -> None:
    write_model(Path("lm.arpa"), tuple(word.upper() for word in WORDS))
    (notes,) = {outcome.notes for outcome in outcomes(manifest, task(lm="lm.arpa", lexicon="words.txt"))}
    assert "has 0 of the 13 words of the lexicon (0.0%): it has them in upper case" in notes[0]


def test_warnings_of_a_vocabulary_without_a_blank(manifest: Path) -> None:
    """Its blank is known when the emissions are."""
    Path("plain.json").write_text('["0", "|"' + "".join(f', "{c}"' for c in "abcdefghijklmnopqrstuvwxyz") + "]")
    Path("words.txt").write_text("cab\nCAB\n")
    plain = corpus.DecodeTask(vocabulary="plain.json", lexicon="words.txt", open_lexicon=True)
    (notes,) = {outcome.notes for outcome in outcomes(manifest, plain)}
    assert len(notes) == 1
    assert "'CAB'" in notes[0]
    Path("words.txt").write_text("CAB\n")
    with pytest.raises(corpus.CorpusError, match=r"spells none of the 1 words of words\.txt"):
        outcomes(manifest, dataclasses.replace(plain))


# -------------------------------------------------------------------------------------------------------------- digests


def test_each_option_has_its_digest() -> None:
    others: list[Task] = [
        task(), task(lm="lm.arpa"), task(lm="lm.arpa", lm_unit="token"), task(lm="lm.arpa", lm_weight=1.0),
        task(lm="lm.arpa", word_bonus=1.0), task(lm="lm.arpa", unknown_score=-1.0), task(lexicon="words.txt"),
        task(lexicon="words.txt", open_lexicon=True), task(hotwords="names.txt"), task(hotwords=["hello"]),
        task(hotwords=["hello"], hotword_weight=1.0), task(hotwords={"hello": 2.0}),
    ]  # fmt: skip
    assert len({other.digest() for other in others}) == len(others)
    assert task(hotwords={"hello": 10.0}).digest() == task(hotwords=["hello"]).digest()


@pytest.mark.parametrize("name", ["lm.arpa", "words.txt", "names.txt"])
def test_a_changed_file_is_another_task(manifest: Path, name: str) -> None:
    chosen = task(lm="lm.arpa", lexicon="words.txt", hotwords="names.txt")
    assert run(manifest, chosen, limit=3).done == 3
    os.utime(name, ns=(1, 1))  # the date alone changes nothing
    assert run(manifest, chosen, limit=4).skipped == 3
    path = Path(name)
    path.write_text(path.read_text().replace("hello", "jello"))
    with pytest.raises(corpus.CorpusError, match="made with other options"):
        run(manifest, chosen)
    assert run(manifest, chosen, overwrite=True).done == 8
    path.rename("moved")  # nor does the name
    options = {"lm.arpa": "lm", "words.txt": "lexicon", "names.txt": "hotwords"}
    moved: Any = {options[name]: "moved"}
    assert run(manifest, dataclasses.replace(chosen, **moved)).skipped == 8


def test_a_changed_file_is_read_again(manifest: Path) -> None:
    chosen = task(hotwords="names.txt")
    scores = []
    for weight in (1.0, 2.5):
        Path("names.txt").write_text(f"cab\t{weight}\n")
        scores.append([o.result["hotword_score"] for o in outcomes(manifest, chosen) if o.result])
    assert scores == [[1, 1, 0, 0, 0, 0, 0, 0], [2.5, 2.5, 0, 0, 0, 0, 0, 0]]


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lm_weight": 1.0}, "lm_weight is 1.0, which has no effect without lm"),
        ({"word_bonus": 1.0, "lexicon": "words.txt"}, "word_bonus is 1.0, which has no effect without lm"),
        ({"lm_unit": "token"}, "lm_unit is token, which has no effect without lm"),
        ({"unknown_score": 1.0}, "unknown_score is 1.0, which has no effect without lm or lexicon"),
        ({"open_lexicon": True, "lm": "lm.arpa"}, "open_lexicon is True, which has no effect without lexicon"),
        ({"hotword_weight": 1.0}, "hotword_weight is 1.0, which has no effect without hotwords"),
        ({"lm": "lm.arpa", "lm_weight": -1.0}, "lm_weight is -1.0"), ({"lm_unit": "letter"}, "lm_unit is 'letter'"),
        ({"lm": "lm.arpa", "word_bonus": float("nan")}, "word_bonus is nan"),
        ({"hotwords": ["a"], "hotword_weight": 80.0}, "hotword_weight is 80.0"),
        ({"hotwords": {"a": float("inf")}}, "hotwords"), ({"hotwords": [" "]}, "a phrase must have words"),
        ({"greedy": True, "lm": "lm.arpa", "hotwords": ["a"]}, "greedy .*: leave out lm and hotwords, or"),
        ({"greedy": True, "lexicon": "words.txt"}, "greedy .*: leave out lexicon"),
    ],
    ids=str,
)  # fmt: skip
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(corpus.CorpusError, match=message):
        task(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lm": "no.arpa"}, "the language model: there is no file 'no.arpa'"),
        ({"lexicon": "no.txt"}, "the lexicon: there is no file 'no.txt'"),
        ({"hotwords": "no.txt"}, "the hotwords: there is no file 'no.txt'"),
        ({"lm": "corpus"}, "the language model: 'corpus' is not a file"),
        ({"lm": "words.txt"}, "words.txt is no n-gram model"), ({"lexicon": "0.bin"}, "0.bin is no lexicon: line 1"),
        ({"hotwords": "0.bin"}, "'0.bin' are no text: byte 0 is not UTF-8"),
        ({"lexicon": "empty"}, "empty has no words"), ({"hotwords": "empty"}, "'empty' have no phrase"),
        ({"lexicon": "upper"}, "spells none of the 1 words of upper, such as 'CAB': the vocabulary has .* in lower"),
        ({"hotwords": "upper"}, "hotwords has 'CAB'"),
    ],
    ids=str,
)  # fmt: skip
def test_files_that_cannot_be_used(manifest: Path, options: dict[str, Any], message: str) -> None:
    """The run ends before the first item."""
    Path("0.bin").write_bytes(b"\xff\xfe\x00")
    Path("empty").write_text("\n")
    Path("upper").write_text("CAB\n")
    with pytest.raises(corpus.CorpusError, match=message):
        outcomes(manifest, task(**options))


def test_a_worker_tells_what_cannot_be_used(manifest: Path) -> None:
    Path("words.txt").write_text("CAB\n")
    with pytest.raises(corpus.CorpusError, match=r"spells none of the 1 words of words\.txt"):
        outcomes(manifest, task(lexicon="words.txt"), workers=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cab\nbad\tx\n", "line 2 of .* has 'x' after its tab"), ("cab\t1\t2\n", r"line 1 .* has '1\\t2'"),
        ("\n\tcab\n", "line 2 .* begins with a tab"), ("cab\ncab\t2\n", "line 2 .* has 'cab', which an earlier line"),
        ("cab\tnan\n", "line 1 .* has 'nan'"), ("", "have no phrase"),
    ],
)  # fmt: skip
def test_wrong_lines_of_hotwords(text: str, message: str) -> None:
    Path("names.txt").write_text(text)
    with pytest.raises(corpus.CorpusError, match=message):
        read_hotwords("names.txt", 1.0)


def test_lines_of_hotwords_are_phrases() -> None:
    Path("names.txt").write_bytes(b"\xef\xbb\xbf# new  york \r\n\r\nbad\t-2\r\nlast\t\n")
    assert read_hotwords("names.txt", 7.0) == {"# new york": 7.0, "bad": -2.0, "last": 7.0}
