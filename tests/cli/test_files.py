"""The command line and files: no option destroys a file of the user."""

from __future__ import annotations

import base64
import os
import re
import sys
from pathlib import Path

import pytest

from ctckit.cli import main
from tests.tools import command_line, corpora

for needed in ("click", "rich", "jinja2"):
    pytest.importorskip(needed)
unix = pytest.mark.skipif(sys.platform == "win32", reason="links, descriptors")
pytestmark = pytest.mark.usefixtures("manifest")


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
    before = corpora.snapshot()
    assert command_line.align("--model", "ears:hear", *(victim if option == "X" else option for option in options)) == 2
    assert "are the same file" in capsys.readouterr().err
    assert corpora.snapshot() == before


@pytest.mark.parametrize("victim", INPUTS[:2])
def test_check_destroys_no_input_either(victim: str) -> None:
    before = corpora.snapshot()
    assert main(["check", "corpus/items.jsonl", *command_line.VOCAB, "-o", victim]) == 2
    assert corpora.snapshot() == before


def test_outputs_that_are_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.align("-o", "o.jsonl", "--html", "page.html", "--errors", "e.jsonl") == 0
    before = corpora.snapshot()
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
        assert command_line.align(*options) == 2, options
        assert "are the same file" in capsys.readouterr().err
        assert corpora.snapshot() == before


@pytest.mark.parametrize(
    "options", [("-o", "mine"), ("-o", "mine", "--overwrite"), ("--errors", "mine"), ("--html", "mine")], ids=" ".join
)
@pytest.mark.parametrize("content", ["precious", "precious\n", "<!doctype html>\n", "{}\n", '{"id": "a"}\n'])
def test_a_file_of_another_kind_is_left_alone(
    options: tuple[str, ...], content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine").write_text(content)
    assert command_line.align(*options) == 2
    assert re.search("'mine' exists, but", capsys.readouterr().err)
    assert Path("mine").read_text() == content


@pytest.mark.parametrize("option", ["-o", "--errors", "--html"])
def test_an_input_named_as_a_temporary_file(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Path(".new.partial")
    Path("corpus/items.jsonl").rename(manifest)
    before = corpora.snapshot()
    assert main(["align", str(manifest), *command_line.VOCAB, option, "new"]) == 2
    assert "the temporary file of" in capsys.readouterr().err
    assert corpora.snapshot() == before


@unix
@pytest.mark.parametrize(
    ("options", "beginning"), [(("-o",), b'{"id"'), (("-o", "o", "--errors"), b'{"id"'), (("--html",), b"<!doctype")]
)
def test_outputs_go_through_pipes(manifest: Path, options: tuple[str, ...], beginning: bytes) -> None:
    corpora.change_line(manifest, 0, emissions="nowhere.npy")
    # For the child, /dev/stdout is a pipe to this process.
    done = command_line.run_alone("align", str(manifest), *command_line.VOCAB, "-q", *options, "/dev/stdout")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(beginning)


@unix
@pytest.mark.timeout(60)
def test_inputs_that_are_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    """Reading a pipe would wait forever, and so would reading a device."""
    os.mkfifo("pipe.json")
    for path in ("pipe.json", "/dev/zero"):
        assert main(["align", "corpus/items.jsonl", "--vocab", path]) == 2
        assert "is not a file" in capsys.readouterr().err
        assert main(["align", path, *command_line.VOCAB]) == 2
        assert "is not a file" in capsys.readouterr().err


def test_errors_do_not_replace_results_nor_results_errors() -> None:
    corpora.write_manifest(Path("bad.jsonl"), [{"id": "a", "emissions": "no.npy", "tokens": [1]}])
    assert main(["check", "bad.jsonl", "-o", "bad.errors.jsonl", "-q"]) == 1
    assert command_line.align("-o", "o.jsonl") == 0
    before = corpora.snapshot()
    assert command_line.align("-o", "bad.errors.jsonl", "--overwrite") == 2
    assert main(["check", "bad.jsonl", "-o", "o.jsonl"]) == 2
    assert main(["demo", "--html", "o.jsonl"]) == 2
    assert corpora.snapshot() == before


def test_a_page_is_replaced_by_a_page() -> None:
    assert command_line.align("--html", "page.html") == 0
    first = Path("page.html").read_bytes()
    assert command_line.align("--html", "page.html", "--html-items", "2") == 0
    assert Path("page.html").read_bytes() != first
    assert main(["demo", "--html", "page.html"]) == 0


def test_the_summary_tells(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["align", str(manifest), *command_line.VOCAB, "-o", "o.jsonl", "--unknown", "punctuation=skip"]
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
    """Results of items outside the manifest, and stale results, do not count."""
    command = ["loss", str(manifest), *command_line.VOCAB, "-o", "o.jsonl"]
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
        corpora.change_line(manifest, 0, audio=audio)
        assert command_line.align("--html", "page.html") == 0
        assert encoded not in Path("page.html").read_text()
        assert "--html-any-audio" in capsys.readouterr().err
        assert command_line.align("--html", "page.html", "--html-any-audio") == 0
        assert encoded in Path("page.html").read_text()
    capsys.readouterr()
    corpora.change_line(manifest, 0, audio="../corpus/inside.wav")
    assert command_line.align("--html", "page.html") == 0
    assert base64.b64encode(b"RIFF other sound").decode() in Path("page.html").read_text()
    assert capsys.readouterr().err == ""


def test_a_page_without_its_audio(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpora.change_line(manifest, 0, audio="nowhere.wav")
    assert command_line.align("--html", "page.html") == 0
    assert "nowhere.wav' is not a file" in capsys.readouterr().err
    assert "data:audio" not in Path("page.html").read_text()
