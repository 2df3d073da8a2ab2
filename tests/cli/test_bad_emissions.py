"""The command line and bad emissions: check finds them, align and loss warn once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctckit.cli import main
from tests.tools import command_line, corpora

for needed in ("click", "rich", "jinja2"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.usefixtures("manifest")


@pytest.mark.parametrize(
    ("change", "kind", "options"),
    [
        (np.exp, "positive", ()),
        (lambda x: x + 3, "positive", ()),
        (lambda x: x - 3, "unnormalised", ()),
        (np.exp, "positive", ("--logits",)),
        (lambda x: x[:, :20], "label", ()),
        (lambda x: np.log(np.exp(x[:, :20]) / np.exp(x[:, :20]).sum(1, keepdims=True)), "label", ()),
        (lambda x: np.where(x == x.max(), np.nan, x), "non_finite", ()),
    ],
    ids=["probabilities", "logits", "half a softmax", "probabilities as logits", "truncated", "few classes", "NaN"],
)
def test_check_finds_implausible_emissions(
    change: Any, kind: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("corpus/6.npy")  # hello world
    np.save(path, change(np.load(path)).astype(np.float32))
    assert main(["check", "corpus/items.jsonl", *command_line.VOCAB, "-q", *options]) == 1
    rows = [line.split("\t")[:3] for line in capsys.readouterr().out.splitlines()]
    assert ["item 6", "7", kind] in rows
    if not options:
        assert len(rows) == 1


def test_check_finds_fewer_classes_than_the_vocabulary(capsys: pytest.CaptureFixture[str]) -> None:
    """Even if the text needs none of the missing classes."""
    x = np.load("corpus/0.npy")[:, :20]
    np.save("corpus/0.npy", x - np.log(np.exp(x).sum(1, keepdims=True)))
    assert main(["check", "corpus/items.jsonl", *command_line.VOCAB, "-q"]) == 1
    (row,) = capsys.readouterr().out.splitlines()
    assert row.split("\t")[2] == "classes"


@pytest.mark.parametrize("command", ["check", "loss", "align"])
@pytest.mark.parametrize("classes", [20, 40])
def test_a_label_that_is_none_with_another_number_of_classes(
    command: str, classes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message begins with the wrong number of classes."""
    x = np.load("corpus/6.npy")
    named = [token for token in corpora.TOKENS if token not in ("<pad>", "<blank>")]  # then class 0 is the blank
    Path("v.json").write_text(json.dumps(named))
    x = np.pad(x, ((0, 0), (0, max(0, classes - x.shape[1]))), constant_values=-99.0)[:, :classes]
    np.save("corpus/6.npy", x)
    line = next(line for line in corpora.read_lines(Path("corpus/items.jsonl")) if line["emissions"] == "6.npy")
    line["text"] = named[0] + line["text"]
    corpora.write_manifest(Path("corpus/one.jsonl"), [line])
    assert main([command, "corpus/one.jsonl", "--vocab", "v.json", "-q"]) == 1
    captured = capsys.readouterr()
    compared = "fewer" if classes < len(named) else "more"
    assert f"emissions have {classes} classes, {compared} than the {len(named)} of the vocabulary" in (
        captured.out + captured.err
    )


def test_the_loss_of_fewer_classes_than_the_vocabulary(capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer classes are an error, even if the text needs none of the missing ones. More classes are a warning."""
    x = np.load("corpus/0.npy")
    np.save("corpus/0.npy", x[:, :20] - np.log(np.exp(x[:, :20]).sum(1, keepdims=True)))
    wide = np.load("corpus/1.npy")
    np.save("corpus/1.npy", np.pad(wide, ((0, 0), (0, 3)), constant_values=-99.0))
    assert main(["loss", "corpus/items.jsonl", *command_line.VOCAB, "-o", "losses.jsonl"]) == 1
    errors = [json.loads(line) for line in Path("losses.errors.jsonl").read_text().splitlines()]
    assert [error["kind"] for error in errors] == ["classes"]
    assert "more than the" in capsys.readouterr().err


def test_check_finds_another_blank(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last class, which has no name, wins all the frames that should be the blank's."""
    for line in corpora.read_lines(manifest):
        x = np.load(Path("corpus") / line["emissions"])
        np.save(
            Path("corpus") / line["emissions"], np.concatenate([np.full_like(x[:, :1], -20), x[:, 1:], x[:, :1]], 1)
        )
    assert main(["check", str(manifest), *command_line.VOCAB, "-q"]) == 1
    rows = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["blank"] * 8


@pytest.mark.parametrize("command", ["align", "loss"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_commands_warn_once(command: str, workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    for index in (1, 2, 5):
        path = Path(f"corpus/{index}.npy")
        np.save(path, np.exp(np.load(path)))
    assert main([command, "corpus/items.jsonl", *command_line.VOCAB, "--workers", workers, "-o", "o.jsonl"]) == 0
    message = capsys.readouterr().err
    assert message.count("Warning: ") == 1
    assert "Warning: item 1: " in message
    assert "hold probabilities, not their logarithms" in message
    assert "3 items with implausible emissions (ctckit check lists them)" in message


def test_nothing_left_of_a_text(manifest: Path) -> None:
    corpora.change_line(manifest, 0, text="??? 99")
    for command in ("align", "loss", "check"):
        assert (
            main(
                [
                    command,
                    str(manifest),
                    *command_line.VOCAB,
                    "--unknown",
                    "skip",
                    "--errors" if command != "check" else "-o",
                    "e.jsonl",
                    "-q",
                ]
            )
            == 1
        )
        (fault,) = corpora.read_lines(Path("e.jsonl"))
        assert (fault["id"], fault["kind"]) == ("item 0", "text")
        assert "nothing is left" in fault["message"]
