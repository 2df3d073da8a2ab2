"""``ctckit decode --tune``: the tables, the picture, and the command line that it prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ctckit.cli import main
from tests.tools import corpora
from tests.tools.language_models import write_ambiguous

for needed in ("click", "rich", "jinja2", "rapidfuzz"):
    pytest.importorskip(needed)
pytestmark = [pytest.mark.usefixtures("core", "made")]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_ambiguous(Path("my data"))


GIVEN = ("decode", "my data/items.jsonl", "--vocab", "my data/vocab.json", "--lm", "my data/pairs.arpa")
START = ("--lm-weight=0.1", "--word-bonus", "0")


def rows_of(said: str) -> list[list[str]]:
    return [re.split(r"\s*[│┃|]\s*", line)[1:-1] for line in said.splitlines()]


def test_the_printed_command_line_gives_the_errors_that_were_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN, *START, "--tune", "--tune-by", "cer", "--nbest", "2"]) == 0
    printed = capsys.readouterr()
    words = shlex.split(printed.out)
    assert words[: len(GIVEN) + 1] == ["ctckit", *GIVEN]
    assert "--tune" not in printed.out
    assert [words.count(option) for option in ("--lm-weight", "--word-bonus", "--beam", "--nbest")] == [1, 1, 1, 1]
    weight, bonus, beam = (words[words.index(option) + 1] for option in ("--lm-weight", "--word-bonus", "--beam"))
    rows = rows_of(printed.err)
    assert ["given", "0.1", "0", "16", "66.67%", "22.22%"] in rows
    assert ["best", weight, bonus, beam, "0.00%", "0.00%"] in rows
    assert rows[1][0] == "24 items with a text, 24"  # the width of the terminal breaks it
    assert re.search(r"change of the character error rate: -22.22 points, 95% interval -\d", printed.err)
    assert main([*words[1:], "--worst", "0"]) == 0
    assert re.search(r"words +. +24 . +0 . +0.0%", capsys.readouterr().err)


def test_the_same_output_for_two_workers(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for options in ((), ("--workers", "2")):
        assert main([*GIVEN, *START, *options, "--tune", "--tune-plot", f"{len(options)}.svg"]) == 0
        found = capsys.readouterr()
        printed.append((found.out.replace(" --workers 2", ""), found.err.replace("2.svg", "0.svg")))
    assert printed[0] == printed[1]
    assert Path("0.svg").read_bytes() == Path("2.svg").read_bytes()


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_a_plot(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    options = (*GIVEN, *START, "--tune", "--limit", "6", "-q", "--tune-plot", f"plot.{kind}")
    for _ in range(2):  # a picture is replaced by a picture
        assert main([*options]) == 0
        assert capsys.readouterr().err == ""
    assert Path(f"plot.{kind}").read_bytes().startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[kind])


def test_what_does_not_count_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines = corpora.read_lines(Path("my data/items.jsonl"))
    lines[0]["emissions"] = "nowhere.npy"
    corpora.write_manifest(Path("my data/items.jsonl"), lines)
    Path("words.txt").write_text("bad\nbed\ncab\ncub\nham\nhum\ndad\ndid\nBAD\n")
    assert main([*GIVEN, *START, "--tune", "--lexicon", "words.txt", "--workers", "2"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("Warning") == 1
    assert "'BAD'" in said
    assert "left out as bad: 1 missing; ctckit decode lists the reasons" in said


def test_the_end_of_what_is_tried_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--lm-weight", "2", "--word-bonus", "0", "--tune", "--tune-lm-weight", "1.6:2", "-q", "--limit", "1")
    assert main([*GIVEN, *options]) == 0
    assert "Warning: the best lies at the end of what was tried; see further with --tune-lm-weight" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tune", "-o", "out.jsonl"), "--tune writes no results: leave out --output"),
        (("--tune", "--html", "page.html"), "--tune writes no results: leave out --html"),
        (("--tune-plot", "plot.svg"), "--tune-plot needs --tune"),
        (("--tune", "--greedy"), "greedy decoding takes the most probable class"),
        (("--tune", "--tune-by", "per"), "'per' is not one of 'wer', 'cer'"),
        (("--tune", "--tune-lm-weight", "3"), "'3' is not the lowest and the highest value, as in 0:3"),
        (("--tune", "--tune-word-bonus", "3:2"), "word_bonus is to be from 3 to 2"),
        (("--tune", "--tune-plot", "plot.jpg"), "'plot.jpg', but must be a .svg, .png, .pdf file"),
        (("--tune", "--tune-plot", "no/plot.svg"), "'no/plot.svg': name a file in a folder that you may write to"),
        (("--tune", "--tune-plot", "mine.svg"), "'mine.svg' exists, but is no .svg picture"),
        (("--tune", "--tune-plot", "my data/pairs.arpa"), "the plot and the language model are the same file"),
    ],
)
def test_a_mistake_is_a_message(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.svg").write_text("precious")
    before = corpora.snapshot()
    assert main([*GIVEN, *options]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message.replace("'", "") in error.replace("'", "")
    assert "Traceback" not in error
    assert corpora.snapshot() == before


def test_tuning_needs_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN[:4], "--tune"]) == 2
    assert "name one (--lm FILE)" in " ".join(capsys.readouterr().err.split())
