"""A file per item: names do not clash, and files of the user are kept."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from ctckit import corpus
from ctckit.corpus.item_files import FileNames, file_stem
from tests.corpus.tasks import task
from tests.tools import corpora

unix = pytest.mark.skipif(sys.platform == "win32", reason="links, signals")


def test_files_per_item_replace_none_of_the_user(manifest: Path) -> None:
    """The vocabulary and files that were written or edited by hand are kept; files of a run may be replaced."""
    lines = corpora.read_lines(manifest)
    lines[1]["id"], lines[2]["id"] = "vocab", "out"
    corpora.write_manifest(manifest, lines)
    before = corpora.snapshot()
    json_task = task(formats=("json", "ctm"))
    with pytest.raises(corpus.CorpusError, match=r"the file of 'vocab' and the vocabulary are the same file"):
        corpus.process(json_task, manifest, folder="corpus")
    with pytest.raises(corpus.CorpusError, match=r"the file of 'out' and the results are the same file"):
        corpus.process(json_task, manifest, "out.json", folder=".")
    assert corpora.snapshot() == before

    Path("files").mkdir()
    Path("files/item 0.ctm").write_text("by hand\n")
    summary = corpus.process(json_task, manifest, "o.jsonl", folder="files")
    assert (summary.done, dict(summary.faults)) == (7, {"exists": 1})
    assert Path("files/item 0.ctm").read_text() == "by hand\n"
    assert not Path("files/item 0.json").exists()
    Path("files/item 0.ctm").unlink()
    assert corpus.process(json_task, manifest, "o.jsonl", folder="files").done == 1

    corpora.change_line(manifest, 0, text="dad")
    corpora.change_line(manifest, 4, text="bee")
    corrected = Path("files/item 4.json").read_text() + "\n"
    Path("files/item 4.json").write_text(corrected)
    summary = corpus.process(json_task, manifest, "o.jsonl", folder="files")
    assert (summary.redone, dict(summary.faults)) == (1, {"exists": 1})
    assert json.loads(Path("files/item 0.json").read_text())["text"] == "dad"
    assert Path("files/item 4.json").read_text() == corrected
    Path("files/item 5.json").write_text('["a", "vocabulary"]')
    summary = corpus.process(task(formats=("json",)), manifest, folder="files", overwrite=True)
    assert (summary.done, dict(summary.faults)) == (7, {"exists": 1})
    assert Path("files/item 5.json").read_text() == '["a", "vocabulary"]'
    assert json.loads(Path("files/item 4.json").read_text())["text"] == "bee"


def test_ids_that_are_alike_have_files_of_their_own(manifest: Path) -> None:
    lines = corpora.read_lines(manifest)
    names = ["a", "A", "\u00e9", "e\u0301", "con", "a/b", "A/B", "%41"]
    for line, name in zip(lines, names, strict=True):
        line["id"] = name
    corpora.write_manifest(manifest, lines)
    for workers in (1, 2):
        shutil.rmtree("files", ignore_errors=True)
        corpus.process(task(formats=("json",)), manifest, folder="files", workers=workers)
        found = sorted(path.name for path in Path("files").iterdir())
        assert len({name.casefold() for name in found}) == 8
        assert {"a.json", "%63on.json"} <= set(found)
        for name, text in zip(names, corpora.TEXTS, strict=True):
            like = [path for path in found if path.startswith(file_stem(name))]
            assert text in [json.loads((Path("files") / path).read_text())["text"] for path in like]


def test_names_do_not_depend_on_what_is_done() -> None:
    names = FileNames()
    assert names.reserve("a") == "a"
    second = names.reserve("A")
    assert second != "A"
    outcome = corpus.Outcome("A", 2, {}, files=(("A.srt", "x"),))
    assert list(names.of(outcome)) == [(f"{second}.srt", "x")]


def test_a_file_that_cannot_be_made_is_made_by_the_next_run(manifest: Path) -> None:
    """The line of an item is written after its files. Otherwise the next run would skip it."""
    blocked = Path("files") / "item 3.json"
    blocked.mkdir(parents=True)
    summary = corpus.process(task(formats=("json",)), manifest, "o.jsonl", folder="files")
    assert (summary.done, dict(summary.faults)) == (7, {"exists": 1})
    assert "item 3" not in corpora.read_texts("o.jsonl")
    blocked.rmdir()
    assert corpus.process(task(formats=("json",)), manifest, "o.jsonl", folder="files").done == 1
    assert blocked.is_file()


@unix
@pytest.mark.timeout(60)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_file_in_the_place_of_an_items_file(manifest: Path, overwrite: bool) -> None:
    """That item has a fault, without a wait for the reader of a pipe; the other items are done."""
    folder = Path("files")
    (folder / "item 0.json").mkdir(parents=True)
    os.mkfifo(folder / "item 1.json")
    (folder / "item 2.json").symlink_to("item 2.json")
    (folder / "item 3.json").symlink_to("/dev/null")
    summary = corpus.process(
        task(formats=("json",)), manifest, "o.jsonl", folder=folder, errors="e.jsonl", overwrite=overwrite
    )
    assert (summary.done, dict(summary.faults)) == (4, {"exists": 4})
    assert list(corpora.read_texts("o.jsonl")) == [f"item {k}" for k in range(4, 8)]
    for entry in corpora.read_lines(Path("e.jsonl")):
        assert f"{entry['id']}.json' exists and is not a file" in entry["message"]


def test_a_folder_that_cannot_be_made(manifest: Path) -> None:
    Path("files").write_text("precious")
    for folder in ("files", "files/below"):
        with pytest.raises(corpus.CorpusError, match="no files can be written to the folder"):
            corpus.process(task(formats=("json",)), manifest, folder=folder)
    assert Path("files").read_text() == "precious"


def test_watchers_see_what_was_written(manifest: Path) -> None:
    """If the file of an item cannot be written, watchers get a fault, not the result."""
    (Path("files") / "item 3.json").mkdir(parents=True)
    seen: list[corpus.Outcome] = []
    corpus.process(task(formats=("json",)), manifest, "o.jsonl", folder="files", watch=(seen.append,))
    assert len(seen) == 8
    assert {o.id: o.fault.kind for o in seen if o.fault is not None} == {"item 3": "exists"}
    assert [o.id for o in seen if o.result is None] == ["item 3"]
