"""Options of the command line: wrong values are messages, and right ones reach the task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ctckit.cli import main
from tests.tools import command_line, corpora

for needed in ("click", "rich", "jinja2"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.usefixtures("manifest")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--unknown", "guess"), "must be one of"),
        (("--unknown", "letters=skip"), "letters"),
        (("--unknown", "numbers=skip,"), "numbers=skip,"),
        (("--wildcard-score", "nan"), "wildcard_score is nan"),
        (("--max-array-bytes", "0"), "0 is not in the range"),
        (("--blank", "1"), "blank"),
    ],
)
def test_mistakes(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.align(*options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert main(["loss", "corpus/items.jsonl", *command_line.VOCAB, "--unknown", "numbers=wildcard"]) == 2


@pytest.mark.parametrize(
    ("number", "source", "option", "code"),
    [
        (0, "import sys\nsys.exit(0)\n", "--model", 2),
        (1, "import sys\nsys.exit(0)\n", "--vocab", 2),
        (2, "def of(): raise KeyError('no such')\n", "--vocab", 2),
        (3, "def of(): raise SystemExit(0)\n", "--vocab", 2),
        (4, "def of(path): raise SystemExit(0)\n", "--model", 1),
        (5, "def of(path): raise KeyError('no such')\n", "--model", 1),
    ],
)
@pytest.mark.parametrize("command", ["align", "loss"])
def test_code_of_the_user_that_exits(
    manifest: Path, number: int, source: str, option: str, code: int, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is a message and exit code 2, or a fault of each item with audio; never a silent end."""
    name = f"theirs_{command}_{number}"  # a module is imported once per process
    Path(f"{name}.py").write_text(source)
    lines = corpora.read_lines(manifest)
    lines[0]["audio"] = lines[0].pop("emissions")
    corpora.write_manifest(manifest, lines)
    assert main([command, str(manifest), *command_line.VOCAB, option, f"{name}:of", "-o", "o.jsonl"]) == code
    if code == 1:
        assert len(corpora.read_lines(Path("o.jsonl"))) == len(lines) - 1
        assert name in corpora.read_lines(Path("o.errors.jsonl"))[0]["message"]
    else:
        assert name in capsys.readouterr().err


def test_unknown_apart(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpora.change_line(manifest, 0, text="cab 7, dad!")
    options = ("--limit", "1", "--unknown", "numbers=wildcard,punctuation=skip", "--wildcard-score", "-2")
    assert command_line.align(*options) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["dropped"]
    assert [token["text"] for token in result["tokens"] if token["id"] is None] == ["7"]
    scores = []
    for score in ("-1", "-3"):
        assert command_line.align(*options[:-1], score) == 0
        scores.append(json.loads(capsys.readouterr().out)["score"])
    assert scores[0] > scores[1] + 1


def test_tokens_with_a_vocabulary(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens by name and by class give the results of the text, for every command."""
    found = []
    for tokens in (None, list("cab"), [corpora.TOKENS.index(letter) for letter in "cab"], ["c", 2, "b"]):
        if tokens is not None:
            corpora.change_line(manifest, 0, tokens=tokens)
        command = [str(manifest), *command_line.VOCAB, "--limit", "1", "-q"]
        assert main(["check", *command]) == 0
        assert main(["loss", *command]) == 0
        row = capsys.readouterr().out.splitlines()[1]
        assert main(["align", *command]) == 0
        result = json.loads(capsys.readouterr().out)
        found.append((row, [(token["text"], token["start"], token["end"]) for token in result["tokens"]]))
    assert found == [found[0]] * 4


def test_the_blank_of_a_vocabulary(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command finds a blank that is the last class, by its name or because it has none."""
    lines = corpora.read_lines(manifest)
    for line in lines:
        x = np.load(Path("corpus") / line["emissions"])
        np.save(Path("corpus") / line["emissions"], np.roll(x, -1, axis=1))
    expected = None
    for vocabulary in ([*corpora.TOKENS[1:], "<blank>"], corpora.TOKENS[1:]):
        Path("v.json").write_text(json.dumps(vocabulary))
        for command in ("check", "loss", "align"):
            assert main([command, str(manifest), "--vocab", "v.json", "-q"]) == 0
        results = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        assert results == list(corpora.TEXTS)
        assert main(["loss", str(manifest), "--vocab", "v.json", "-q"]) == 0
        losses = capsys.readouterr().out
        assert expected in (None, losses)
        expected = losses
