"""The command line: results, messages, exit codes, and no traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ctckit
from ctckit.cli import main
from tests.tools import corpora

for needed in ("click", "rich", "jinja2"):
    pytest.importorskip(needed)


@pytest.fixture
def with_bad(manifest: Path) -> Path:
    lines: list[Any] = corpora.read_lines(manifest)
    lines[2:2] = [{"id": "gone", "emissions": "nowhere.npy", "text": "x"}, "{", {**lines[0], "id": "odd", "text": "a9"}]
    return corpora.write_manifest(manifest, lines)


VOCAB = ("--vocab", "corpus/vocab.json")


def test_align_streams_json_lines(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", str(manifest), *VOCAB, "--frame-duration", "0.02"]) == 0
    printed = capsys.readouterr()
    results = [json.loads(line) for line in printed.out.splitlines()]
    assert [result["id"] for result in results] == [f"item {index}" for index in range(8)]
    for result, text in zip(results, corpora.TEXTS, strict=True):
        assert [word["text"] for word in result["words"]] == text.split()
        assert ctckit.Alignment.from_dict(result).text == text
    assert "aligned 8 items" in printed.err
    assert "\x1b" not in printed.out + printed.err


def test_align_resumes(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["align", str(manifest), *VOCAB, "-o", "out.jsonl"]
    assert main([*command, "--limit", "3"]) == 0
    assert main(command) == 0
    assert "aligned 5 items" in (message := capsys.readouterr().err)
    assert "3 done before" in message
    assert len(corpora.read_lines(Path("out.jsonl"))) == 8
    assert main([*command, "--logits"]) == 2
    assert re.search(r"^Error: .*--overwrite$", capsys.readouterr().err, re.MULTILINE)
    assert main([*command, "--logits", "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_bad_items_are_listed_and_the_rest_is_done(with_bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", str(with_bad), *VOCAB]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 8
    assert "gone (line 3): there is no file" in printed.err
    assert "line 4 (line 4): it is not valid JSON" in printed.err
    assert "character '9' (U+0039" in printed.err
    assert "aligned 8 items" in printed.err
    assert "3 bad" in printed.err

    assert main(["align", str(with_bad), *VOCAB, "-o", "out.jsonl"]) == 1
    assert "see out.errors.jsonl" in capsys.readouterr().err
    assert [entry["id"] for entry in corpora.read_lines(Path("out.errors.jsonl"))] == ["gone", "line 4", "odd"]


def test_files_and_a_page(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["align", str(manifest), *VOCAB, "--frame-duration", "0.02"]
    files = ["--format", "ctm", "--format", "json", "--folder", "files"]
    assert main([*command, *files, "--html", "page.html", "--html-items", "2", "-o", "out.jsonl"]) == 0
    assert len(list(Path("files").iterdir())) == 16
    page = Path("page.html").read_text(encoding="utf-8")
    assert "item 0" in page
    assert "item 1" in page
    assert "item 2" not in page
    # The same from results of an earlier run.
    assert main([*command, "--html", "again.html", "--html-items", "2", "-o", "out.jsonl", "--overwrite"]) == 0
    assert main([*command, "--html", "later.html", "--html-items", "2", "-o", "out.jsonl"]) == 0
    assert Path("later.html").read_text(encoding="utf-8") == page
    assert capsys.readouterr().out == ""


def test_a_page_of_results_that_somebody_changed(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed result is not shown if it is no longer an alignment. The message names item, value and file."""
    command = ["align", str(manifest), *VOCAB, "--html", "page.html", "-o", "out.jsonl"]
    assert main(command) == 0
    page = Path("page.html").read_bytes()
    entries = corpora.read_lines(Path("out.jsonl"))
    entries[0]["frames"] = "many"
    Path("out.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    capsys.readouterr()
    assert main(command) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "item 'item 0' is no alignment that can be shown: it: 'frames' is 'many'" in said
    assert "delete the line of this item in 'out.jsonl'" in said
    assert Path("page.html").read_bytes() == page


def test_loss_prints_a_table_and_the_mean(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loss", str(manifest), *VOCAB]) == 0
    printed = capsys.readouterr()
    header, *rows = [line.split("\t") for line in printed.out.splitlines()]
    assert header == ["id", "loss", "loss per label", "frames", "labels"]
    assert [row[0] for row in rows] == [f"item {index}" for index in range(8)]
    losses = [float(row[1]) for row in rows]
    mean = re.search(r"mean loss ([\d.]+) nats", printed.err)
    assert mean is not None
    assert float(mean[1]) == pytest.approx(sum(losses) / 8, abs=1e-3)

    for limit in ("3", "8"):
        assert main(["loss", str(manifest), *VOCAB, "-o", "loss.jsonl", "--limit", limit]) == 0
    again = re.search(r"mean loss ([\d.]+) nats", capsys.readouterr().err.splitlines()[-1])
    assert again is not None
    assert again[1] == mean[1]


def test_check_lists_what_is_wrong(with_bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(with_bad), *VOCAB, "-o", "bad.jsonl"]) == 1
    printed = capsys.readouterr()
    rows = [line.split("\t") for line in printed.out.splitlines()]
    assert [row[:3] for row in rows] == [["gone", "3", "missing"], ["line 4", "4", "manifest"], ["odd", "5", "text"]]
    assert "8 good items, 3 bad" in printed.err
    assert [entry["kind"] for entry in corpora.read_lines(Path("bad.jsonl"))] == ["missing", "manifest", "text"]

    lines = [line for line in with_bad.read_text().splitlines() if '"item' in line]
    corpora.write_manifest(with_bad, list(lines))
    assert main(["check", str(with_bad), *VOCAB]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["align"], "Missing argument 'MANIFEST'"),
        (["align", "nowhere.jsonl"], "the manifest 'nowhere.jsonl' does not exist: name a file"),
        (["align", "corpus/items.jsonl"], "there is no vocabulary: name one (--vocab vocab.json)"),
        (["align", "corpus/items.jsonl", "--vocab", "no.json"], "'no.json', but there is no such file"),
        (["align", "corpus/items.jsonl", *VOCAB, "--word-separator", "#"], "word_separator is '#'"),
        (["align", "corpus/items.jsonl", *VOCAB, "--frame-duration", "-1"], "must be a positive number of seconds"),
        (["align", "corpus/items.jsonl", *VOCAB, "--format", "srt"], "--format needs --folder"),
        (["align", "corpus/items.jsonl", *VOCAB, "--folder", "x"], "--folder needs --format"),
        (["align", "corpus/items.jsonl", *VOCAB, "--format", "doc", "--folder", "x"], "'doc' is not one of"),
        (["align", "corpus/items.jsonl", *VOCAB, "--model", "nothing:here"], "'nothing:here' cannot be imported"),
        (["align", "corpus/items.jsonl", *VOCAB, "-o", "corpus"], "the results cannot be written to 'corpus'"),
        (["align", "corpus/items.jsonl", *VOCAB, "--workers", "0"], "0 is not in the range x>=1"),
        (["loss", "corpus/items.jsonl", *VOCAB, "--blank", "-3"], "blank is -3"),
        (["check", "corpus/items.jsonl", "--vocabs", "v"], "Did you mean one of: --fold-case, --vocab"),
        (["demo", "--text", "price: 5"], "--text has '5': use letters"),
        (["nothing"], "No such command 'nothing'"),
    ],
)
@pytest.mark.usefixtures("manifest")
def test_a_mistake_is_a_message(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message.replace("'", "") in error.replace("'", "")
    assert "Traceback" not in error


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["align"], ["decode"], ["loss"], ["check"]):
        assert main([*command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "ctckit" in text
        assert "Exit codes:\n    0    no problem\n" in text
        assert max(map(len, text.splitlines())) <= 100
    assert main(["--version"]) == 0
    assert ctckit.__version__ in capsys.readouterr().out


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["demo", "--html", str(page), "--text", "We all meet"]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"11 tokens are on average (\d+) ms off at their start and (\d+) ms at their end", printed)
    assert found is not None
    assert max(int(found[1]), int(found[2])) <= 10  # a frame
    assert "data:audio/wav;base64,UklGR" in page.read_text()


def test_bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ctckit.cli import bench

    monkeypatch.setattr(bench, "SHAPES", (bench.Shape("small", 20, 2, 5, 4),))
    assert main(["bench", "--seconds", "0"]) == 0
    assert re.search(r"small.*20, 2, 5, 4.*\d+\.\d+x", capsys.readouterr().out)


def run_alone(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, **options
    )


def test_without_the_extra() -> None:
    """The script exists, and says what to install."""
    done = run_alone("import sys; sys.modules['click'] = None; from ctckit.cli import main; sys.exit(main(['demo']))")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ctckit: the command line needs click: pip install 'ctckit[cli]'\n"


def test_a_reader_that_has_enough(manifest: Path) -> None:
    """``ctckit loss ... | head -1`` ends without a message."""
    code = (
        f"import sys; from ctckit.cli import main; sys.exit(main(['loss', {str(manifest)!r}, '-q', *{list(VOCAB)!r}]))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-c", code], check=False, stdout=writer, stderr=subprocess.PIPE, env=environment
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_interrupted(monkeypatch: pytest.MonkeyPatch, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ctckit.corpus import LossTask

    original = LossTask._do

    def interrupted(self: LossTask, item: Any) -> Any:
        if item.line == 4:
            raise KeyboardInterrupt
        return original(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(LossTask, "_do", interrupted)
        assert main(["loss", str(manifest), *VOCAB, "-o", "loss.jsonl"]) == 130
    assert "run the same command again to continue" in capsys.readouterr().err
    assert len(corpora.read_lines(Path("loss.jsonl"))) == 3
    assert main(["loss", str(manifest), *VOCAB, "-o", "loss.jsonl"]) == 0
    assert len(corpora.read_lines(Path("loss.jsonl"))) == 8
