"""``ctckit lm``: models are compiled and described, and no file is lost."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from pathlib import Path

import pytest

import ctckit
from ctckit.cli import main
from tests.tools import corpora
from tests.tools.language_models import WORDS, write_model

for needed in ("click", "rich", "jinja2"):
    pytest.importorskip(needed)
pytestmark = [pytest.mark.usefixtures("core", "here")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(Path("lm.arpa"))


def test_a_model_is_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    Path("lm.arpa.gz").write_bytes(gzip.compress(Path("lm.arpa").read_bytes()))
    assert main(["lm", "compile", "lm.arpa", "-o", "new/lm.ctclm"]) == 0
    assert main(["lm", "compile", "lm.arpa.gz", "-o", "other.ctclm", "-q"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "order 1" in printed.err
    assert f"{len(WORDS) + 3} words" in printed.err
    size = Path("new/lm.ctclm").stat().st_size
    assert f"{size / (len(WORDS) + 3):.1f} per n-gram" in printed.err
    assert Path("new/lm.ctclm").read_bytes() == Path("other.ctclm").read_bytes()
    compiled = ctckit.NGram("new/lm.ctclm")
    assert compiled.score("a bad cab") == ctckit.NGram("lm.arpa").score("a bad cab")
    # A compiled model is replaced by another one.
    write_model(Path("lm.arpa"), WORDS[:3])
    assert main(["lm", "compile", "lm.arpa", "-o", "other.ctclm", "-q"]) == 0
    assert len(ctckit.NGram("other.ctclm")) == 6
    assert sorted(path.name for path in Path().iterdir()) == ["lm.arpa", "lm.arpa.gz", "new", "other.ctclm"]


def test_what_a_model_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", "info", "lm.arpa"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    rows = [line.replace("│", " ").replace("┃", " ").split() for line in printed.out.splitlines()]
    assert ["1-grams", str(len(WORDS) + 3)] in rows
    assert ["lm.arpa", "order", "1", str(len(WORDS) + 3), "words"] in rows


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
def test_others_may_read_a_compiled_model() -> None:
    """As any file of the user: what the mask of the process leaves."""
    Path("any").touch()
    assert main(["lm", "compile", "lm.arpa", "-o", "lm.ctclm", "-q"]) == 0
    assert Path("lm.ctclm").stat().st_mode == Path("any").stat().st_mode


@pytest.mark.parametrize(
    ("model", "output", "message"),
    [
        ("lm.arpa", "lm.arpa", "the model and the output are the same file"),
        ("lm.arpa", "./new/../lm.arpa", "the model and the output are the same file"),
        ("lm.arpa", "link", "the model and the output are the same file"),
        ("lm.arpa", "mine", "'mine' exists, but is no compiled model"),
        ("lm.arpa", "folder", "it is a folder"),
        ("no.arpa", "lm.ctclm", "there is no file 'no.arpa'"),
        ("folder", "lm.ctclm", "'folder' is not a file"),
        ("mine", "lm.ctclm", "mine is no n-gram model that can be read"),
        ("broken.arpa", "lm.ctclm", "broken.arpa is no n-gram model that can be read: line 9: it must begin with"),
        ("cut.ctclm", "lm.ctclm", "cut.ctclm is no n-gram model that can be read"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_message(model: str, output: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").write_text("precious")
    Path("folder").mkdir()
    Path("new").mkdir()
    os.link("lm.arpa", "link")
    Path("broken.arpa").write_text(Path("lm.arpa").read_text().replace("-1.301030\ta\n", "x\ta\n"))
    ctckit.NGram("lm.arpa").save("cut.ctclm")
    Path("cut.ctclm").write_bytes(Path("cut.ctclm").read_bytes()[:-5])
    before = corpora.snapshot()
    assert main(["lm", "compile", model, "-o", output]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error
    assert corpora.snapshot() == before


@pytest.mark.parametrize(
    ("kind", "message"),
    [("probing", "is a binary of KenLM: save the ARPA file that it was made from"), ("trie", "trie")],
)
def test_a_binary_of_kenlm_is_not_compiled(kind: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(Path(__file__).parents[1] / "decoding" / "kenlm" / f"{kind}.bin", "lm.bin")
    assert main(["lm", "compile", "lm.bin", "-o", "lm.ctclm"]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("lm.ctclm").exists()
