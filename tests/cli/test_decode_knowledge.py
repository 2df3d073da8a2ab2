"""``ctckit decode`` with a language model, a lexicon and hotwords."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ctckit.cli import main
from tests.tools import corpora
from tests.tools.command_line import VOCAB
from tests.tools.language_models import WORDS, write_model

for needed in ("click", "rich", "jinja2", "rapidfuzz"):
    pytest.importorskip(needed)
pytestmark = [pytest.mark.usefixtures("core", "files")]


@pytest.fixture
def files(manifest: Path) -> Path:
    write_model(Path("lm.arpa"))
    Path("words.txt").write_text("\n".join(WORDS))
    Path("names.txt").write_text("bad cab\t3.5\nhello\n")
    return manifest


def decode(*options: str) -> int:
    return main(["decode", "corpus/items.jsonl", *VOCAB, *options])


def test_what_is_known_is_scored(capsys: pytest.CaptureFixture[str]) -> None:
    known = ("--lm", "lm.arpa", "--lm-weight", "0.8", "--word-bonus", "2", "--lexicon", "words.txt", "--open-lexicon")
    assert decode(*known, "--unknown-score", "-4", "--hotwords", "names.txt", "--hotword-weight", "2") == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["text"] for result in results] == list(corpora.TEXTS)
    assert [result["hotword_score"] for result in results] == [0, 3.5, 0, 0, 0, 0, 2, 0]
    # log10 of 0.05 for each word, and of 0.1 for the end, as the file rounds them
    expected = [(0.8 * (-1.30103 * n - 1.0) * 2.302585093) + 2 * n for n in (len(t.split()) for t in corpora.TEXTS)]
    assert [result["lm_score"] for result in results] == pytest.approx(expected, abs=1e-5)
    assert decode("--hotword", "bad cab", "--hotword", "hello", "-q") == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["hotword_score"] for result in again] == [0, 10, 0, 0, 0, 0, 10, 0]


def test_case_may_be_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    write_model(Path("lm.arpa"), tuple(word.upper() for word in WORDS))
    known = ("--lm", "lm.arpa", "--lm-weight", "1", "--word-bonus", "0", "--hotword", "Bad CAB")
    assert decode(*known) == 2
    assert "--fold-case" in capsys.readouterr().err
    assert decode(*known, "--fold-case") == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (results[1]["text"], results[1]["hotword_score"]) == ("a bad cab", 10.0)
    assert results[1]["lm_score"] == pytest.approx((3 * -1.30103 - 1) * 2.302585093, abs=1e-5)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_warning_is_said_once(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("words.txt").write_text("\n".join((*WORDS, "\x1b[2Jé")))
    assert decode("--lexicon", "words.txt", "-o", "out.jsonl", "--workers", workers) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("Warning") == 1
    assert r"does not spell 1 of the 14 words of words.txt, which are left out: '\x1b[2Jé'" in said
    assert "implausible" not in said


def test_a_run_is_resumed_with_the_same_files_only(capsys: pytest.CaptureFixture[str]) -> None:
    known = ("--lm", "lm.arpa", "-o", "out.jsonl")
    assert decode(*known, "--limit", "2") == 0
    assert decode(*known) == 0
    assert "2 done before" in capsys.readouterr().err
    write_model(Path("lm.arpa"), WORDS[:5])
    assert decode(*known) == 2
    assert "other options" in capsys.readouterr().err
    assert decode(*known, "--overwrite") == 0
    assert "decoded 8 items" in capsys.readouterr().err


@pytest.mark.parametrize("victim", ["lm.arpa", "words.txt", "names.txt", "link"])
@pytest.mark.parametrize(
    "options", [("-o", "X"), ("-o", "X", "--overwrite"), ("--errors", "X"), ("--html", "X")], ids=" ".join
)
def test_no_option_destroys_an_input(victim: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    os.link("lm.arpa", "link")
    before = corpora.snapshot()
    known = ("--lm", "lm.arpa", "--lexicon", "words.txt", "--hotwords", "names.txt")
    assert decode(*known, *(victim if option == "X" else option for option in options)) == 2
    assert "are the same file" in capsys.readouterr().err
    assert corpora.snapshot() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lm", "no.arpa"), "the language model: there is no file 'no.arpa'"),
        (("--lm", "words.txt"), "words.txt is no n-gram model that can be read"),
        (("--lm", "lm.arpa", "--lm-unit", "letter"), "'letter' is not one of 'word', 'token'"),
        (("--lm", "lm.arpa", "--lm-weight", "x"), "'x' is not a valid float"),
        (("--lm-weight", "1"), "lm_weight is 1.0, which has no effect without lm"),
        (("--greedy", "--hotword", "cab"), "greedy decoding takes the most probable class of each frame"),
        (("--hotword", "cab", "--hotwords", "names.txt"), "--hotwords and --hotword exclude each other"),
        (("--hotword", "CAB"), "hotwords has 'CAB'"),
        (("--lexicon", "upper.txt"), "the vocabulary spells none of the 1 words of upper.txt, such as 'CAB'"),
    ],
)
def test_a_mistake_is_a_message(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("upper.txt").write_text("CAB\n")
    assert decode(*options) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message.replace("'", "") in error.replace("'", "")
    assert "Traceback" not in error
