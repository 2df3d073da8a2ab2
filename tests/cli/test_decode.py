"""``ctckit decode``: results, error rates, pages, and messages for mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctckit.cli import main
from tests.tools import corpora
from tests.tools.command_line import VOCAB

for needed in ("click", "rich", "jinja2", "rapidfuzz"):
    pytest.importorskip(needed)


def decode(*options: str) -> int:
    return main(["decode", "corpus/items.jsonl", *VOCAB, *options])


@pytest.mark.usefixtures("manifest")
def test_results_are_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert decode("--beam", "8:64", "--nbest", "2") == 0
    printed = capsys.readouterr()
    results = [json.loads(line) for line in printed.out.splitlines()]
    assert [result["text"] for result in results] == list(corpora.TEXTS)
    assert all(len(result["nbest"]) == 2 for result in results)
    assert "decoded 8 items" in printed.err
    assert "\x1b" not in printed.out + printed.err


def test_error_rates_and_the_worst_items(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rates are those of the sums. The references of two items are changed."""
    corpora.change_line(manifest, 1, text="a bad big cab")
    corpora.change_line(manifest, 2, text="dada")
    words = sum(len(text.split()) for text in corpora.TEXTS) + 1
    characters = sum(map(len, corpora.TEXTS)) + 4 + 1
    for options in (("--limit", "3"), ()):  # the second run adds the results of the first
        assert decode("-o", "out.jsonl", *options) == 0
        said = capsys.readouterr().err
    assert re.search(rf"8 items with a text .*\n.*\n. words +. +{words} . +2 . +{200 / words:.1f}% .", said)
    assert re.search(rf"\n. characters +. +{characters} . +5 . +{500 / characters:.1f}% .", said)
    rows = [[cell.strip() for cell in re.split("[│|]", line)[1:-1]] for line in said.splitlines() if "item " in line]
    assert rows[-2:] == [
        ["item 2", "100.0%", "25.0%", "dad[a]", "dad[]"],
        ["item 1", "25.0%", "30.8%", "a bad [big] cab", "a bad [] cab"],
    ]
    assert decode("-o", "out.jsonl", "--worst", "1") == 0
    assert "item 1 " not in capsys.readouterr().err
    assert decode("-o", "out.jsonl", "--worst", "0") == 0
    assert "worst" not in capsys.readouterr().err
    assert decode("-o", "out.jsonl", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_texts_do_not_control_the_terminal(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpora.change_line(manifest, 0, text="c\x1b[2Jab [red]cab[/red]", id="[bold]\x07")
    assert decode("--limit", "1") == 0
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "[bold]" in said
    assert r"\x1b" in said


def test_no_texts_no_rates(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decode("--no-error-rates") == 0
    assert "error rate" not in capsys.readouterr().err
    lines = corpora.read_lines(manifest)
    corpora.write_manifest(manifest, [{"id": line["id"], "emissions": line["emissions"]} for line in lines])
    assert decode() == 0
    printed = capsys.readouterr()
    assert "error rate" not in printed.err
    assert all("reference" not in json.loads(line) for line in printed.out.splitlines())


@pytest.mark.usefixtures("manifest")
def test_bad_items_are_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    x = corpora.log_probs("dad", 2)
    x[5, 5] = np.nan
    np.save("corpus/2.npy", x)
    assert decode("-o", "out.jsonl") == 1
    assert "decoded 7 items" in (said := capsys.readouterr().err)
    assert "1 bad: 1 non_finite, see out.errors.jsonl" in said
    assert "7 items with a text" in said
    np.save("corpus/2.npy", corpora.log_probs("dad", 2))
    assert decode("-o", "out.jsonl") == 0
    assert "7 done before" in capsys.readouterr().err
    assert corpora.read_texts("out.jsonl") == {f"item {i}": text for i, text in enumerate(corpora.TEXTS)}


@pytest.mark.usefixtures("manifest")
def test_files_and_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    files = ("--format", "srt", "--format", "ctm", "--folder", "files", "--frame-duration", "0.02")
    page = ("--html-items", "2", "-o", "out.jsonl", "--nbest", "2")
    assert decode(*files, *page, "--html", "page.html") == 0
    assert len(list(Path("files").iterdir())) == 16
    assert "cab" in Path("files/item 0.srt").read_text()
    assert decode(*files, *page, "--html", "later.html") == 0  # of the results of the earlier run
    assert Path("later.html").read_bytes() == Path("page.html").read_bytes()
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', Path("page.html").read_text())
    assert found is not None
    shown: list[Any] = json.loads(found[1])
    assert [[word["text"] for word in each["words"]] for each in shown] == [["cab"], ["a", "bad", "cab"]]
    assert [(each["hypotheses"][0][0], len(each["hypotheses"])) for each in shown] == [("cab", 2), ("a bad cab", 2)]
    assert [each["reference"] for each in shown] == [["cab", 0.0, 0.0], ["a bad cab", 0.0, 0.0]]
    assert capsys.readouterr().out == ""
    assert decode("-o", "out.jsonl", "--nbest", "3") == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--beam", "x"), "'x' is not a number, nor the first and the largest number, as in 8:512"),
        (("--beam", "1:2:3"), "'1:2:3' is not a number"),
        (("--beam", ""), "is not a number"),
        (("--beam", "0"), "beam_width is 0, but must be from 1"),
        (("--beam", "9:8"), "must not exceed the largest"),
        (("--nbest", "17"), "nbest is 17, but a beam of 16 prefixes has no more hypotheses"),
        (("--nbest", "0"), "nbest is 0"),
        (("--greedy", "--nbest", "2"), "greedy decoding has no beam and one hypothesis"),
        (("--beam-threshold", "0"), "beam_threshold is 0.0"),
        (("--token-threshold", "nan"), "token_threshold is nan"),
        (("--blank-threshold", "1.5"), "blank_threshold is 1.5"),
        (("--worst", "-1"), "-1 is not in the range"),
        (("--format", "srt"), "--format needs --folder"),
        (("--unknown", "skip"), "No such option"),
        (("--vocab", "no.json"), "'no.json', but there is no such file"),
        (("--html", "corpus/items.jsonl"), "the page and the manifest are the same file"),
    ],
)
@pytest.mark.usefixtures("manifest")
def test_a_mistake_is_a_message(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert decode(*options) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message.replace("'", "") in error.replace("'", "")
    assert "Traceback" not in error


@pytest.mark.usefixtures("manifest")
def test_a_vocabulary_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", "corpus/items.jsonl"]) == 2
    assert "decoding needs a vocabulary: name one (--vocab vocab.json)" in capsys.readouterr().err
