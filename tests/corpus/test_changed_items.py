"""Results and their inputs: an item is done again if and only if its inputs have changed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctckit import corpus
from tests.corpus.tasks import task
from tests.tools import corpora


def test_a_changed_item_is_done_again(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    before = corpora.read_lines(Path("o.jsonl"))
    corpora.change_line(manifest, 3, text="dad")
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert (summary.done, summary.redone, summary.skipped) == (1, 1, 7)
    after = corpora.read_lines(Path("o.jsonl"))
    assert [entry["id"] for entry in after] == [entry["id"] for entry in before]
    assert [entry["text"] for entry in after] == ["cab", "a bad cab", "dad", "dad", *corpora.TEXTS[4:]]
    assert after[:3] + after[4:] == before[:3] + before[4:]
    assert corpus.process(task(), manifest, "o.jsonl").skipped == 8


def _touch(line: dict[str, Any]) -> None:
    path = Path("corpus") / line["emissions"]
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _other_frames(line: dict[str, Any]) -> None:
    path = Path("corpus") / line["emissions"]
    date = path.stat().st_mtime_ns
    np.save(path, corpora.log_probs(line["text"], 99, frames=60))
    os.utime(path, ns=(date, date))


def _other_file(line: dict[str, Any]) -> None:
    shutil.copy2(Path("corpus") / line["emissions"], "corpus/copy.npy")
    line["emissions"] = "copy.npy"


CHANGES = {
    "text": lambda line: line.update(text="bad"),
    "tokens": lambda line: line.update(tokens=["c", "a", "b"]),
    "classes": lambda line: line.update(tokens=[4, 2, 3]),
    "frame_duration": lambda line: line.update(frame_duration=0.5),
    "offset": lambda line: line.update(offset=1.5),
    "path": _other_file,
    "date": _touch,
    "size": _other_frames,
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_input_counts(manifest: Path, name: str) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    lines = corpora.read_lines(manifest)
    CHANGES[name](lines[0])
    corpora.write_manifest(manifest, lines)
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert (summary.redone, summary.skipped) == (1, 7)
    assert corpus.process(task(), manifest, "o.jsonl").skipped == 8
    fresh = corpus.process(task(), manifest, "fresh.jsonl")
    assert fresh.done == 8
    assert Path("o.jsonl").read_bytes() == Path("fresh.jsonl").read_bytes()


def test_other_changes_do_not_count(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    lines = corpora.read_lines(manifest)
    lines[0].update(audio="a.wav", speaker="x")
    corpora.write_manifest(manifest, [lines[3], *lines[:3], *lines[4:]])
    before = Path("o.jsonl").read_bytes()
    assert corpus.process(task(), manifest, "o.jsonl").skipped == 8
    Path("corpus/2.npy").unlink()  # emissions may be deleted after use
    assert corpus.process(task(), manifest, "o.jsonl").skipped == 8
    assert Path("o.jsonl").read_bytes() == before
    corpora.change_line(manifest, 3, text="see")
    assert dict(corpus.process(task(), manifest, "o.jsonl").faults) == {"missing": 1}


def test_the_model_is_an_input(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    lines = corpora.read_lines(manifest)
    for index, line in enumerate(lines[:4]):
        Path(f"corpus/{index}.wav").write_text(str(index))
        line["audio"] = f"{index}.wav"
        del line["emissions"]
    corpora.write_manifest(manifest, lines)
    code = (
        "import pathlib\nfrom tests.tools import corpora\n"
        "def hear(path): return corpora.log_probs(corpora.TEXTS[int(pathlib.Path(path).stem)], 1)\n"
    )
    for module in ("first_ears", "second_ears"):
        Path(f"{module}.py").write_text(code)
    listening = task(model="first_ears:hear")
    assert corpus.process(listening, manifest, "o.jsonl").done == 8
    assert corpus.process(listening, manifest, "o.jsonl").skipped == 8
    Path("first_ears.py").write_text(code + "# changed\n")
    summary = corpus.process(listening, manifest, "o.jsonl")
    assert (summary.redone, summary.skipped) == (4, 4)
    Path("corpus/1.wav").write_text("other")
    assert corpus.process(listening, manifest, "o.jsonl").redone == 1
    with pytest.raises(corpus.CorpusError, match="other options"):
        corpus.process(task(model="second_ears:hear"), manifest, "o.jsonl")


def test_the_source_of_a_vocabulary_module_is_an_option(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    Path("letters_of_mine.py").write_text("from tests.tools import corpora\ntokens = corpora.TOKENS\n")
    spelling = corpus.LossTask(vocabulary="letters_of_mine:tokens")
    corpus.process(spelling, manifest, "o.jsonl")
    Path("letters_of_mine.py").write_text("tokens = ['-', *'abc']\n")
    with pytest.raises(corpus.CorpusError, match="other options, or another vocabulary"):
        corpus.process(spelling, manifest, "o.jsonl")


def test_the_options_of_every_line_are_checked(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl", limit=2)
    corpus.process(task(free_end=True), manifest, "p.jsonl", limit=3)
    mixed = Path("o.jsonl").read_text() + Path("p.jsonl").read_text().splitlines(keepends=True)[2]
    Path("o.jsonl").write_text(mixed)
    with pytest.raises(corpus.CorpusError, match=r"other options.*\(line 3\)"):
        corpus.process(task(), manifest, "o.jsonl")
    assert Path("o.jsonl").read_text() == mixed


def test_the_kind_of_task_is_an_option(manifest: Path) -> None:
    corpus.process(corpus.LossTask(vocabulary="corpus/vocab.json"), manifest, "o.jsonl")
    with pytest.raises(corpus.CorpusError, match="other options"):
        corpus.process(corpus.CheckTask(vocabulary="corpus/vocab.json"), manifest, "o.jsonl")


def test_a_changed_item_that_fails_keeps_its_result_as_stale(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    before = corpora.read_lines(Path("o.jsonl"))
    corpora.change_line(manifest, 3, text="9")
    for _ in range(2):
        summary = corpus.process(task(), manifest, "o.jsonl")
        assert (summary.failed, summary.stale, summary.skipped) == (1, 1, 7)
        after = corpora.read_lines(Path("o.jsonl"))
        assert after[3].pop("stale") is True
        assert after == before
        (fault,) = corpora.read_lines(Path("o.errors.jsonl"))
        assert fault["message"].endswith("(the result of its earlier inputs is kept)")
    corpora.change_line(manifest, 3, text=corpora.TEXTS[3])
    assert corpus.process(task(), manifest, "o.jsonl").skipped == 8
    assert corpora.read_lines(Path("o.jsonl")) == before


def test_results_of_items_that_are_gone_are_kept_and_counted(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    before = Path("o.jsonl").read_bytes()
    corpora.write_manifest(manifest, corpora.read_lines(manifest)[2:])
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert (summary.skipped, summary.absent) == (6, 2)
    assert corpus.process(task(), manifest, "o.jsonl", limit=3).absent == 0
    assert Path("o.jsonl").read_bytes() == before


def test_results_without_a_digest_of_inputs(manifest: Path) -> None:
    """They count as changed: the items are done again, and a bad one keeps its old result, marked as stale."""
    corpus.process(task(), manifest, "o.jsonl")
    lines = corpora.read_lines(Path("o.jsonl"))
    for line in lines:
        del line["inputs"]
    Path("o.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    corpora.change_line(manifest, 0, text="?")
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert (summary.done, summary.redone, summary.skipped, summary.stale) == (7, 7, 0, 1)
    entries = corpora.read_lines(Path("o.jsonl"))
    assert [entry["id"] for entry in entries] == [line["id"] for line in lines]
    assert [entry.get("stale", False) for entry in entries] == [True] + 7 * [False]
    assert entries[0]["text"] == lines[0]["text"]
