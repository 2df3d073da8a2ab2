"""The command line and files: nothing that an option names is destroyed, and no stream ends a run."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctckit.cli import main
from tests.tools import corpora

for needed in ("click", "rich", "jinja2"):
    pytest.importorskip(needed)
unix = pytest.mark.skipif(sys.platform == "win32", reason="links, descriptors")

VOCAB = ("--vocab", "corpus/vocab.json")


@pytest.fixture(autouse=True)
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return corpora.write_corpus(tmp_path / "corpus").relative_to(tmp_path)


def snapshot() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def align(*options: str) -> int:
    return main(["align", "corpus/items.jsonl", *VOCAB, "--frame-duration", "0.02", "-q", *options])


def alone(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-m", "ctckit", *arguments], check=False, env=environment, **options
    )


def set_lines(manifest: Path, **fields: Any) -> None:
    lines = corpora.read_lines(manifest)
    lines[0].update(fields)
    corpora.write_manifest(manifest, lines)


# --------------------------------------------------------------------------------------------------------------- files


INPUTS = ("corpus/items.jsonl", "corpus/vocab.json", "ears.py")


@pytest.mark.parametrize("victim", [*INPUTS, "soft link", "hard link"])
@pytest.mark.parametrize(
    "options",
    [
        ("-o", "X"), ("-o", "X", "--overwrite"), ("-o", "o.jsonl", "--errors", "X"), ("--errors", "X"),
        ("--html", "X"), ("--html", "X", "-o", "o.jsonl", "--overwrite"),
    ],
    ids=" ".join,
)  # fmt: skip
@unix
def test_no_option_destroys_an_input(victim: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    Path("ears.py").write_text("def hear(path): raise ValueError\n")
    if victim.endswith("link"):
        Path("link").symlink_to(INPUTS[0]) if victim == "soft link" else os.link(INPUTS[0], "link")
        victim = "link"
    before = snapshot()
    assert align("--model", "ears:hear", *(victim if option == "X" else option for option in options)) == 2
    assert "are the same file" in capsys.readouterr().err
    assert snapshot() == before


@pytest.mark.parametrize("victim", INPUTS[:2])
def test_check_destroys_no_input_either(victim: str) -> None:
    before = snapshot()
    assert main(["check", "corpus/items.jsonl", *VOCAB, "-o", victim]) == 2
    assert snapshot() == before


def test_outputs_that_are_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert align("-o", "o.jsonl", "--html", "page.html", "--errors", "e.jsonl") == 0
    before = snapshot()
    for options in (
        ("-o", "o.jsonl", "--errors", "o.jsonl"),
        ("-o", "o.jsonl", "--html", "o.jsonl"),
        ("-o", "o.jsonl", "--html", "o.errors.jsonl"),
        ("-o", "page.html", "--html", "page.html", "--overwrite"),
        ("-o", "o.jsonl", "--errors", "page.html", "--html", "page.html"),
        ("-o", "o.jsonl", "--html", ".o.jsonl.lock"),
        ("-o", ".page.html.partial", "--html", "page.html"),
        ("-o", "o.jsonl", "--errors", ".o.jsonl.partial"),
        ("-o", "x/../new.jsonl", "--html", "new.jsonl"),
    ):
        assert align(*options) == 2, options
        assert "are the same file" in capsys.readouterr().err
        assert snapshot() == before


@pytest.mark.parametrize(
    "options", [("-o", "mine"), ("-o", "mine", "--overwrite"), ("--errors", "mine"), ("--html", "mine")], ids=" ".join
)
@pytest.mark.parametrize("content", ["precious", "precious\n", "<!doctype html>\n", "{}\n", '{"id": "a"}\n'])
def test_a_file_of_another_kind_is_left_alone(
    options: tuple[str, ...], content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine").write_text(content)
    assert align(*options) == 2
    assert re.search("'mine' exists, but", capsys.readouterr().err)
    assert Path("mine").read_text() == content


@pytest.mark.parametrize("option", ["-o", "--errors", "--html"])
def test_an_input_named_as_a_temporary_file(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Path(".new.partial")
    Path("corpus/items.jsonl").rename(manifest)
    before = snapshot()
    assert main(["align", str(manifest), *VOCAB, option, "new"]) == 2
    assert "the temporary file of" in capsys.readouterr().err
    assert snapshot() == before


@unix
@pytest.mark.parametrize(
    ("options", "beginning"), [(("-o",), b'{"id"'), (("-o", "o", "--errors"), b'{"id"'), (("--html",), b"<!doctype")]
)
def test_outputs_go_through_pipes(manifest: Path, options: tuple[str, ...], beginning: bytes) -> None:
    set_lines(manifest, emissions="nowhere.npy")
    done = alone("align", str(manifest), *VOCAB, "-q", *options, "/dev/stdout")  # a pipe of this process
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(beginning)


@unix
@pytest.mark.timeout(60)
def test_inputs_that_are_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe would be waited for, and a device read, for ever."""
    os.mkfifo("pipe.json")
    for path in ("pipe.json", "/dev/zero"):
        assert main(["align", "corpus/items.jsonl", "--vocab", path]) == 2
        assert "is not a file" in capsys.readouterr().err
        assert main(["align", path, *VOCAB]) == 2
        assert "is not a file" in capsys.readouterr().err


def test_an_errors_file_is_none_of_results_and_the_other_way_round() -> None:
    corpora.write_manifest(Path("bad.jsonl"), [{"id": "a", "emissions": "no.npy", "tokens": [1]}])
    assert main(["check", "bad.jsonl", "-o", "bad.errors.jsonl", "-q"]) == 1
    assert align("-o", "o.jsonl") == 0
    before = snapshot()
    assert align("-o", "bad.errors.jsonl", "--overwrite") == 2
    assert main(["check", "bad.jsonl", "-o", "o.jsonl"]) == 2
    assert main(["demo", "--html", "o.jsonl"]) == 2
    assert snapshot() == before


def test_a_page_is_replaced_by_a_page() -> None:
    assert align("--html", "page.html") == 0
    first = Path("page.html").read_bytes()
    assert align("--html", "page.html", "--html-items", "2") == 0
    assert Path("page.html").read_bytes() != first
    assert main(["demo", "--html", "page.html"]) == 0


def test_the_summary_tells(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["align", str(manifest), *VOCAB, "-o", "o.jsonl", "--unknown", "punctuation=skip"]
    assert main(command) == 0
    lines = corpora.read_lines(manifest)
    lines[0]["text"], lines[1]["text"], lines[2]["text"] = "dad - bad", "9", "a ? bad cab"
    corpora.write_manifest(manifest, lines[:7])
    capsys.readouterr()
    assert main(command) == 1
    message = capsys.readouterr().err
    for part in (
        "aligned 2 items",
        "2 redone because their inputs changed",
        "4 done before",
        "1 bad: 1 text, see o.errors.jsonl",
        "1 result of earlier inputs kept, marked stale",
        "1 result kept of items that are not in the manifest",
        "2 unknown words left out",
    ):
        assert part in message, message
    entries = {entry["id"]: entry for entry in corpora.read_lines(Path("o.jsonl"))}
    assert entries["item 0"]["dropped"] == ["-"]
    assert entries["item 1"]["stale"] is True
    assert entries["item 1"]["text"] == corpora.TEXTS[1]


def test_the_mean_loss_is_that_of_the_manifest(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results of items that are gone, or of other inputs, do not count."""
    command = ["loss", str(manifest), *VOCAB, "-o", "o.jsonl"]
    assert main(command) == 0
    lines = corpora.read_lines(manifest)
    lines[1]["text"] = "9"
    corpora.write_manifest(manifest, lines[:5])
    capsys.readouterr()
    assert main(command) == 1
    message = capsys.readouterr().err
    kept = [
        entry["loss"]
        for entry in corpora.read_lines(Path("o.jsonl"))
        if entry["id"] in ("item 0", "item 2", "item 3", "item 4")
    ]
    found = re.search(r"mean loss ([\d.]+) nats.*over (\d) items", message)
    assert found is not None
    assert float(found[1]) == pytest.approx(sum(kept) / 4, abs=1e-4)
    assert found[2] == "4"


# ------------------------------------------------------------------------------------------------------ audio on a page


@unix
def test_audio_from_elsewhere_is_embedded_only_if_asked_for(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = b"RIFF secret sound"
    (tmp_path / "secret.wav").write_bytes(secret)
    Path("corpus/link.wav").symlink_to(tmp_path / "secret.wav")
    Path("corpus/folder").symlink_to(tmp_path, target_is_directory=True)
    Path("corpus/inside.wav").write_bytes(b"RIFF other sound")
    encoded = base64.b64encode(secret).decode()
    for audio in ("../secret.wav", str(tmp_path / "secret.wav"), "link.wav", "folder/secret.wav"):
        set_lines(manifest, audio=audio)
        assert align("--html", "page.html") == 0
        assert encoded not in Path("page.html").read_text()
        assert "--html-any-audio" in capsys.readouterr().err
        assert align("--html", "page.html", "--html-any-audio") == 0
        assert encoded in Path("page.html").read_text()
    capsys.readouterr()
    set_lines(manifest, audio="../corpus/inside.wav")
    assert align("--html", "page.html") == 0
    assert base64.b64encode(b"RIFF other sound").decode() in Path("page.html").read_text()
    assert capsys.readouterr().err == ""


def test_audio_that_is_not_there_costs_no_page(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_lines(manifest, audio="nowhere.wav")
    assert align("--html", "page.html") == 0
    assert "nowhere.wav' is not a file" in capsys.readouterr().err
    assert "data:audio" not in Path("page.html").read_text()


# -------------------------------------------------------------------------------------------------------------- streams


ODD = {"id": "日本 \x1b[2J\t\n", "emissions": "0.npy", "text": "cab"}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", ["align", "loss", "check"])
def test_any_encoding(manifest: Path, encoding: str, command: str) -> None:
    corpora.write_manifest(manifest, [ODD, {**ODD, "id": "gone 日", "emissions": "no.npy"}])
    done = alone(command, str(manifest), *VOCAB, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    if command == "align":
        out = done.stdout.decode(encoding)
        assert json.loads(out)["id"] == ODD["id"]
    elif command == "loss":
        header, row = done.stdout.decode(encoding).splitlines()
        assert len(row.split("\t")) == len(header.split("\t"))
        assert "\x1b" not in row
    else:
        (row,) = done.stdout.decode(encoding).splitlines()
        assert row.split("\t")[1:3] == ["2", "missing"]


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_a_locale_without_characters(manifest: Path, locale: str) -> None:
    corpora.write_manifest(manifest, [ODD])
    environment = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = alone("align", str(manifest), *VOCAB, env=environment)
    assert (done.returncode, json.loads(done.stdout)["id"]) == (0, ODD["id"])


@unix
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("options", [(), ("-o", "o.jsonl", "--workers", "2")], ids=" ".join)
def test_closed_streams(closed: tuple[int, ...], options: tuple[str, ...]) -> None:
    """Results are what they are otherwise: no file of ours gets the number of a closed stream, and what is printed."""
    close = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[number] for number in closed)
    command = [sys.executable, "-m", "ctckit", "align", "corpus/items.jsonl", *VOCAB, *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(  # noqa: S602  # our own code
        f"{shlex.join(command)} {close}", shell=True, check=False, env=environment, capture_output=True
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    if options:
        assert [entry["id"] for entry in corpora.read_lines(Path("o.jsonl"))] == [f"item {k}" for k in range(8)]


@unix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_streams() -> None:
    with Path("/dev/full").open("wb") as full:
        done = alone("align", "corpus/items.jsonl", *VOCAB, "-o", "o.jsonl", stderr=full)
        assert done.returncode == 0
        done = alone("align", "corpus/items.jsonl", *VOCAB, stdout=full)
        assert done.returncode == 2
        assert done.stderr == b"Error: [Errno 28] No space left on device\n"
    assert len(corpora.read_lines(Path("o.jsonl"))) == 8


# ------------------------------------------------------------------------------------------------------------ arguments


def test_python_m() -> None:
    done = alone("check", "corpus/items.jsonl", *VOCAB)
    assert (done.returncode, done.stderr.split(b" (")[0]) == (0, b"8 good items, 0 bad")
    assert alone("check", "nowhere.jsonl").returncode == 2
    assert alone("--help").stdout.startswith(b"Usage: ctckit")
    report = alone()
    assert report.returncode == 0
    assert report.stdout.startswith(b"ctckit ")
    assert b"torch" in report.stdout


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
    assert align(*options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert main(["loss", "corpus/items.jsonl", *VOCAB, "--unknown", "numbers=wildcard"]) == 2


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
def test_code_of_the_user_that_ends(
    manifest: Path, number: int, source: str, option: str, code: int, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends no run without a word: a message and exit code 2, or a fault of each item that is to be heard."""
    name = f"theirs_{command}_{number}"  # a module is imported once per process
    Path(f"{name}.py").write_text(source)
    lines = corpora.read_lines(manifest)
    lines[0]["audio"] = lines[0].pop("emissions")
    corpora.write_manifest(manifest, lines)
    assert main([command, str(manifest), *VOCAB, option, f"{name}:of", "-o", "o.jsonl"]) == code
    if code == 1:
        assert len(corpora.read_lines(Path("o.jsonl"))) == len(lines) - 1
        assert name in corpora.read_lines(Path("o.errors.jsonl"))[0]["message"]
    else:
        assert name in capsys.readouterr().err


def test_unknown_apart(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_lines(manifest, text="cab 7, dad!")
    options = ("--limit", "1", "--unknown", "numbers=wildcard,punctuation=skip", "--wildcard-score", "-2")
    assert align(*options) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["dropped"]
    assert [token["text"] for token in result["tokens"] if token["id"] is None] == ["7"]
    scores = []
    for score in ("-1", "-3"):
        assert align(*options[:-1], score) == 0
        scores.append(json.loads(capsys.readouterr().out)["score"])
    assert scores[0] > scores[1] + 1


def test_tokens_with_a_vocabulary(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name and by class, for every command: what the text has."""
    found = []
    for tokens in (None, list("cab"), [corpora.TOKENS.index(letter) for letter in "cab"], ["c", 2, "b"]):
        if tokens is not None:
            set_lines(manifest, tokens=tokens)
        command = [str(manifest), *VOCAB, "--limit", "1", "-q"]
        assert main(["check", *command]) == 0
        assert main(["loss", *command]) == 0
        row = capsys.readouterr().out.splitlines()[1]
        assert main(["align", *command]) == 0
        result = json.loads(capsys.readouterr().out)
        found.append((row, [(token["text"], token["start"], token["end"]) for token in result["tokens"]]))
    assert found == [found[0]] * 4


def test_the_blank_of_a_vocabulary(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The blank is the last class, by its name or because it has none; every command sees that."""
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


# ---------------------------------------------------------------------------------------------------------------- check


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
def test_check_sees_what_a_person_sees(
    change: Any, kind: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("corpus/6.npy")  # hello world
    np.save(path, change(np.load(path)).astype(np.float32))
    assert main(["check", "corpus/items.jsonl", *VOCAB, "-q", *options]) == 1
    rows = [line.split("\t")[:3] for line in capsys.readouterr().out.splitlines()]
    assert ["item 6", "7", kind] in rows
    if not options:
        assert len(rows) == 1


def test_check_sees_fewer_classes_than_the_vocabulary(capsys: pytest.CaptureFixture[str]) -> None:
    """Even where the text needs none of those that lack."""
    x = np.load("corpus/0.npy")[:, :20]
    np.save("corpus/0.npy", x - np.log(np.exp(x).sum(1, keepdims=True)))
    assert main(["check", "corpus/items.jsonl", *VOCAB, "-q"]) == 1
    (row,) = capsys.readouterr().out.splitlines()
    assert row.split("\t")[2] == "classes"


@pytest.mark.parametrize("command", ["check", "loss", "align"])
@pytest.mark.parametrize("classes", [20, 40])
def test_a_label_that_is_none_with_another_number_of_classes(
    command: str, classes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says first that the vocabulary is not that of the emissions."""
    x = np.load("corpus/6.npy")
    named = [token for token in corpora.TOKENS if token not in ("<pad>", "<blank>")]  # so that class 0 is the blank
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
    """It is an error even where the text needs none of those that lack; with more classes it is a warning."""
    x = np.load("corpus/0.npy")
    np.save("corpus/0.npy", x[:, :20] - np.log(np.exp(x[:, :20]).sum(1, keepdims=True)))
    wide = np.load("corpus/1.npy")
    np.save("corpus/1.npy", np.pad(wide, ((0, 0), (0, 3)), constant_values=-99.0))
    assert main(["loss", "corpus/items.jsonl", *VOCAB, "-o", "losses.jsonl"]) == 1
    errors = [json.loads(line) for line in Path("losses.errors.jsonl").read_text().splitlines()]
    assert [error["kind"] for error in errors] == ["classes"]
    assert "more than the" in capsys.readouterr().err


def test_check_sees_another_blank(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last class, which has no name, has all the frames that the blank ought to have."""
    for line in corpora.read_lines(manifest):
        x = np.load(Path("corpus") / line["emissions"])
        np.save(
            Path("corpus") / line["emissions"], np.concatenate([np.full_like(x[:, :1], -20), x[:, 1:], x[:, :1]], 1)
        )
    assert main(["check", str(manifest), *VOCAB, "-q"]) == 1
    rows = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["blank"] * 8


@pytest.mark.parametrize("command", ["align", "loss"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_commands_warn_once(command: str, workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    for index in (1, 2, 5):
        path = Path(f"corpus/{index}.npy")
        np.save(path, np.exp(np.load(path)))
    assert main([command, "corpus/items.jsonl", *VOCAB, "--workers", workers, "-o", "o.jsonl"]) == 0
    message = capsys.readouterr().err
    assert message.count("Warning: ") == 1
    assert "Warning: item 1: " in message
    assert "hold probabilities, not their logarithms" in message
    assert "3 items with implausible emissions (ctckit check lists them)" in message


def test_nothing_left_of_a_text(manifest: Path) -> None:
    set_lines(manifest, text="??? 99")
    for command in ("align", "loss", "check"):
        assert (
            main(
                [
                    command,
                    str(manifest),
                    *VOCAB,
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
