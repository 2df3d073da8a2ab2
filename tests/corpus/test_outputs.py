"""Outputs: no run replaces a file that this program did not write."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ctckit import corpus
from tests.corpus.tasks import task
from tests.tools import corpora

unix = pytest.mark.skipif(sys.platform == "win32", reason="links, signals")


@pytest.mark.parametrize("how", ["path", "absolute", "symbolic link", "hard link", "through a folder"])
@pytest.mark.parametrize("option", ["output", "errors"])
@pytest.mark.parametrize("victim", ["corpus/items.jsonl", "corpus/vocab.json", "listening.py", "spelling.py"])
@pytest.mark.parametrize("overwrite", [False, True])
@unix
def test_an_output_that_is_an_input(manifest: Path, victim: str, option: str, how: str, overwrite: bool) -> None:
    Path("listening.py").write_text("def hear(path): raise ValueError\n")
    Path("spelling.py").write_text("tokens = ['-', 'a']\n")
    name: str | Path = victim
    if how == "absolute":
        name = Path(victim).absolute()
    elif how == "symbolic link":
        name = "link"
        Path(name).symlink_to(victim)
    elif how == "hard link":
        name = "link"
        os.link(victim, name)
    elif how == "through a folder":
        name = f"corpus/../{victim}"
    before = corpora.snapshot()
    outputs: dict[str, Any] = {"output": "o.jsonl", "errors": "e.jsonl", option: name}
    vocabulary = "spelling:tokens" if victim == "spelling.py" else "corpus/vocab.json"
    with pytest.raises(corpus.CorpusError, match="are the same file"):
        corpus.process(
            corpus.LossTask(vocabulary=vocabulary, model="listening:hear"), manifest, overwrite=overwrite, **outputs
        )
    assert corpora.snapshot() == before


@unix
def test_outputs_that_are_one_file(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    Path("link").symlink_to("o.jsonl")
    Path("new").symlink_to("later.jsonl")
    before = corpora.snapshot()
    for output, errors in (("o.jsonl", "o.jsonl"), ("o.jsonl", "link"), ("new", "later.jsonl"), ("x", "./x")):
        with pytest.raises(corpus.CorpusError, match="the errors and the results are the same file"):
            corpus.process(task(), manifest, output, errors=errors)
    for errors in (".o.jsonl.lock", ".o.jsonl.redone"):
        with pytest.raises(corpus.CorpusError, match="are the same file"):
            corpus.process(task(), manifest, "o.jsonl", errors=errors)
    assert corpora.snapshot() == before


FOREIGN = {
    "text": b"precious\n",
    "text without an end": b"precious",
    "a manifest": b'{"id": "a", "emissions": "a.npy", "tokens": [1]}\n',
    "a manifest without an end": b'{"id": "a", "emissions": "a.npy", "tokens": [1]}',
    "an array": b"\x93NUMPY\x01\x00v\x00",
    "a list": b"[1]\n",
    "deep": b"[" * 100_000 + b"\n",
    "a number": b"1",
    "an empty line": b"\n",
    "other options": b'{"id": "a", "options": "yes"}\n',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("option", ["output", "errors"])
def test_a_file_of_another_kind_is_kept(manifest: Path, content: bytes, option: str, overwrite: bool) -> None:
    Path("mine.txt").write_bytes(content)
    before = corpora.snapshot()
    outputs: dict[str, Any] = {"output": "o.jsonl", option: "mine.txt"}
    with pytest.raises(corpus.CorpusError, match=r"'mine.txt' exists, but its line 1 is"):
        corpus.process(task(), manifest, overwrite=overwrite, **outputs)
    after = corpora.snapshot()
    after.pop("o.jsonl", None)
    after = {name: held for name, held in after.items() if not name.endswith(".lock")}
    assert after == before


def test_the_default_errors_file_too(manifest: Path) -> None:
    Path("o.errors.jsonl").write_text("precious\n")
    with pytest.raises(corpus.CorpusError, match=r"'o.errors.jsonl' exists.*--errors"):
        corpus.process(task(), manifest, "o.jsonl")
    assert Path("o.errors.jsonl").read_text() == "precious\n"
    assert corpus.process(task(), manifest, "o.jsonl", errors="e.jsonl").done == 8


def test_an_empty_file_may_be_written_to(manifest: Path) -> None:
    Path("o.jsonl").touch()
    Path("o.errors.jsonl").touch()
    assert corpus.process(task(), manifest, "o.jsonl").done == 8
    assert Path("o.errors.jsonl").read_bytes() == b""  # nothing to list; the user's file stays


def test_overwriting_keeps_the_old_results_until_there_are_new_ones(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    before = Path("o.jsonl").read_bytes()
    for broken in (
        corpus.AlignTask(vocabulary="nowhere.json"),
        corpus.AlignTask(vocabulary="corpus/vocab.json", model="nothing:here"),
        corpus.AlignTask(),
    ):
        with pytest.raises(corpus.CorpusError):
            corpus.process(broken, manifest, "o.jsonl", overwrite=True)
        assert Path("o.jsonl").read_bytes() == before
    assert corpus.process(task(free_end=True), manifest, "o.jsonl", overwrite=True, limit=3).done == 3
    assert len(corpora.read_texts("o.jsonl")) == 3


@unix
def test_an_errors_file_that_is_empty_or_a_link(manifest: Path) -> None:
    """An empty file may be the user's, so it stays. If the path is a link, its target is removed."""
    Path("e.jsonl").touch()
    corpus.process(task(), manifest, errors="e.jsonl")
    assert Path("e.jsonl").read_bytes() == b""
    corpora.change_line(manifest, 0, text="?")
    Path("link.jsonl").symlink_to("e.jsonl")
    assert corpus.process(task(), manifest, errors="link.jsonl").failed == 1
    assert len(corpora.read_lines(Path("e.jsonl"))) == 1
    corpora.change_line(manifest, 0, text="bee")
    assert corpus.process(task(), manifest, errors="link.jsonl").failed == 0
    assert not Path("e.jsonl").exists()
    assert Path("link.jsonl").is_symlink()


@unix
def test_outputs_that_are_no_files(manifest: Path) -> None:
    assert corpus.process(task(), manifest, "/dev/null", errors="/dev/null").done == 8
    assert corpus.process(task(), manifest, "/dev/null").done == 8
    assert not Path("/dev/.null.lock").exists()
    with pytest.raises(corpus.CorpusError, match="cannot be written to '/dev/full'"):
        corpus.process(task(), manifest, "/dev/full")
