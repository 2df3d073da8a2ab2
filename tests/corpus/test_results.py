"""Results on the disk: no file of the user is lost, no result is lost or doubled, and each belongs to its inputs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

from ctckit import corpus
from ctckit.corpus import results as results_module
from ctckit.corpus.item_files import FileNames, file_stem
from tests.tools import corpora

unix = pytest.mark.skipif(sys.platform == "win32", reason="links, signals")


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return corpora.write_corpus(tmp_path / "corpus").relative_to(tmp_path)


def task(**options: Any) -> corpus.AlignTask:
    return corpus.AlignTask(vocabulary="corpus/vocab.json", frame_duration=0.02, **options)


def snapshot() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def texts(path: str) -> dict[str, str]:
    """The text of each item; no item is there twice, and no line is truncated."""
    lines = Path(path).read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    entries = [json.loads(line) for line in lines]
    assert len({entry["id"] for entry in entries}) == len(entries), "an item is there twice"
    return {entry["id"]: entry["text"] for entry in entries}


def change_text(manifest: Path, index: int, text: str) -> None:
    lines = corpora.read_lines(manifest)
    lines[index]["text"] = text
    corpora.write_manifest(manifest, lines)


# ------------------------------------------------------------------------------------------ no file of the user is lost


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
    before = snapshot()
    outputs: dict[str, Any] = {"output": "o.jsonl", "errors": "e.jsonl", option: name}
    vocabulary = "spelling:tokens" if victim == "spelling.py" else "corpus/vocab.json"
    with pytest.raises(corpus.CorpusError, match="are the same file"):
        corpus.process(
            corpus.LossTask(vocabulary=vocabulary, model="listening:hear"), manifest, overwrite=overwrite, **outputs
        )
    assert snapshot() == before


@unix
def test_outputs_that_are_one_file(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    Path("link").symlink_to("o.jsonl")
    Path("new").symlink_to("later.jsonl")
    before = snapshot()
    for output, errors in (("o.jsonl", "o.jsonl"), ("o.jsonl", "link"), ("new", "later.jsonl"), ("x", "./x")):
        with pytest.raises(corpus.CorpusError, match="the errors and the results are the same file"):
            corpus.process(task(), manifest, output, errors=errors)
    for errors in (".o.jsonl.lock", ".o.jsonl.redone"):
        with pytest.raises(corpus.CorpusError, match="are the same file"):
            corpus.process(task(), manifest, "o.jsonl", errors=errors)
    assert snapshot() == before


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
def test_a_file_that_is_none_of_ours_is_left_alone(
    manifest: Path, content: bytes, option: str, overwrite: bool
) -> None:
    Path("mine.txt").write_bytes(content)
    before = snapshot()
    outputs: dict[str, Any] = {"output": "o.jsonl", option: "mine.txt"}
    with pytest.raises(corpus.CorpusError, match=r"'mine.txt' exists, but its line 1 is"):
        corpus.process(task(), manifest, overwrite=overwrite, **outputs)
    after = snapshot()
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
    assert Path("o.errors.jsonl").read_bytes() == b""  # an empty list, and the user's file


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
    assert len(texts("o.jsonl")) == 3


def test_files_per_item_replace_none_of_the_user(manifest: Path) -> None:
    """Neither the vocabulary, nor a file that was made or corrected by hand; files of a run may be made again."""
    lines = corpora.read_lines(manifest)
    lines[1]["id"], lines[2]["id"] = "vocab", "out"
    corpora.write_manifest(manifest, lines)
    before = snapshot()
    json_task = task(formats=("json", "ctm"))
    with pytest.raises(corpus.CorpusError, match=r"the file of 'vocab' and the vocabulary are the same file"):
        corpus.process(json_task, manifest, folder="corpus")
    with pytest.raises(corpus.CorpusError, match=r"the file of 'out' and the results are the same file"):
        corpus.process(json_task, manifest, "out.json", folder=".")
    assert snapshot() == before

    Path("files").mkdir()
    Path("files/item 0.ctm").write_text("by hand\n")
    summary = corpus.process(json_task, manifest, "o.jsonl", folder="files")
    assert (summary.done, dict(summary.faults)) == (7, {"exists": 1})
    assert Path("files/item 0.ctm").read_text() == "by hand\n"
    assert not Path("files/item 0.json").exists()
    Path("files/item 0.ctm").unlink()
    assert corpus.process(json_task, manifest, "o.jsonl", folder="files").done == 1

    change_text(manifest, 0, "dad")
    change_text(manifest, 4, "bee")
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


# --------------------------------------------------------------------------------------- a result belongs to its inputs


def test_a_changed_item_is_done_again(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    before = corpora.read_lines(Path("o.jsonl"))
    change_text(manifest, 3, "dad")
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
def test_what_is_an_input(manifest: Path, name: str) -> None:
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


def test_what_is_none(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    lines = corpora.read_lines(manifest)
    lines[0].update(audio="a.wav", speaker="x")
    corpora.write_manifest(manifest, [lines[3], *lines[:3], *lines[4:]])
    before = Path("o.jsonl").read_bytes()
    assert corpus.process(task(), manifest, "o.jsonl").skipped == 8
    Path("corpus/2.npy").unlink()  # emissions may go once they are used
    assert corpus.process(task(), manifest, "o.jsonl").skipped == 8
    assert Path("o.jsonl").read_bytes() == before
    change_text(manifest, 3, "see")
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


def test_a_vocabulary_of_a_module_counts_with_its_source(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    Path("letters_of_mine.py").write_text("from tests.tools import corpora\ntokens = corpora.TOKENS\n")
    spelling = corpus.LossTask(vocabulary="letters_of_mine:tokens")
    corpus.process(spelling, manifest, "o.jsonl")
    Path("letters_of_mine.py").write_text("tokens = ['-', *'abc']\n")
    with pytest.raises(corpus.CorpusError, match="other options, or another vocabulary"):
        corpus.process(spelling, manifest, "o.jsonl")


def test_every_line_is_asked_for_its_options(manifest: Path) -> None:
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


def test_a_changed_item_that_fails_keeps_its_result_marked(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    before = corpora.read_lines(Path("o.jsonl"))
    change_text(manifest, 3, "9")
    for _ in range(2):
        summary = corpus.process(task(), manifest, "o.jsonl")
        assert (summary.failed, summary.stale, summary.skipped) == (1, 1, 7)
        after = corpora.read_lines(Path("o.jsonl"))
        assert after[3].pop("stale") is True
        assert after == before
        (fault,) = corpora.read_lines(Path("o.errors.jsonl"))
        assert fault["message"].endswith("(the result of its earlier inputs is kept)")
    change_text(manifest, 3, corpora.TEXTS[3])
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


# ----------------------------------------------------------------------------------------------------------- one writer


def test_a_second_run_is_refused_or_waits(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl", limit=3)
    before = snapshot()
    lock = filelock.FileLock(results_module.lock_file(Path("o.jsonl").resolve()))
    with lock:
        for overwrite in (False, True):
            with pytest.raises(corpus.CorpusError, match=r"another run writes to 'o.jsonl'.*--wait"):
                corpus.process(task(), manifest, "o.jsonl", overwrite=overwrite)
        Path("link.jsonl").symlink_to("o.jsonl")
        with pytest.raises(corpus.CorpusError, match="another run"):
            corpus.process(task(), manifest, "link.jsonl", errors="e.jsonl")
        Path("link.jsonl").unlink()
        assert snapshot() == before
        code = (
            "from ctckit import corpus\n"
            "task = corpus.AlignTask(vocabulary='corpus/vocab.json', frame_duration=0.02)\n"
            "print('waits', flush=True)\n"
            "print(corpus.process(task, 'corpus/items.jsonl', 'o.jsonl', wait=True).done)\n"
        )
        with subprocess.Popen(  # noqa: S603  # our own code
            [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True
        ) as waiting:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "waits\n"
            time.sleep(0.5)
            assert waiting.poll() is None
            assert snapshot() == before
            lock.release()
            assert waiting.stdout.read() == "5\n"
    assert len(texts("o.jsonl")) == 8


def test_an_item_that_is_there_twice_is_an_error(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    lines = Path("o.jsonl").read_text().splitlines(keepends=True)
    doubled = "".join([*lines, lines[2]])
    Path("o.jsonl").write_text(doubled)
    with pytest.raises(corpus.CorpusError, match=r"has the item 'item 2' twice, in lines 3 and 9"):
        corpus.process(task(), manifest, "o.jsonl")
    assert Path("o.jsonl").read_text() == doubled


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}


# ---------------------------------------------------------------------------------------------------------------- kills

RUN = """
import signal, sys, time
from ctckit import corpus
class Slow(corpus.AlignTask):
    def digest(self):
        return corpus.AlignTask(vocabulary=self.vocabulary, frame_duration=self.frame_duration).digest()
    def _do(self, item):
        time.sleep(0.004)
        return super()._do(item)
task = Slow(vocabulary="corpus/vocab.json", frame_duration=0.02)
print("ready", flush=True)
corpus.process(task, "corpus/items.jsonl", "o.jsonl")
"""


@unix
def test_kills_at_any_moment_lose_and_double_nothing(manifest: Path) -> None:
    """A run that does half of its items anew and half for the first time is killed, again and again."""
    count = 120
    corpora.write_corpus(Path("corpus"), count)
    corpus.process(task(), manifest, "o.jsonl", limit=count // 2)
    lines = corpora.read_lines(manifest)
    old = {line["id"]: line["text"] for line in lines}
    for line in lines[: count // 2]:
        line["text"] = {"cab": "dad", "dad": "cab"}.get(line["text"], "bee")
    corpora.write_manifest(manifest, lines)
    new = {line["id"]: line["text"] for line in lines}
    generator = random.Random(0)  # noqa: S311  # no secret
    for _ in range(12):
        had = texts("o.jsonl")
        with subprocess.Popen(  # noqa: S603  # our own code
            [sys.executable, "-c", RUN], env=environment(), stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout is not None
            run.stdout.readline()
            time.sleep(generator.uniform(0, 0.25))
            run.send_signal(signal.SIGKILL)
        content = Path("o.jsonl").read_bytes()
        Path("o.jsonl").write_bytes(content[: content.rfind(b"\n") + 1])
        has = texts("o.jsonl")
        assert set(has) >= set(had), "results are lost"
        assert all(text in (old[name], new[name]) for name, text in has.items())
        assert all(has[name] == new[name] for name, text in had.items() if text == new[name]), "a new result is lost"
        Path("o.jsonl").write_bytes(content)
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert summary.failed == 0
    assert texts("o.jsonl") == new
    assert not Path(".o.jsonl.redone").exists()


def test_what_was_done_again_before_a_kill_is_taken_over(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the files are put together, and at each step of that: the old result, or the new, never both."""
    corpus.process(task(), manifest, "o.jsonl")
    for index in (1, 4, 6):
        change_text(manifest, index, "bee")

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(results_module.ResultsFile, "_merge", killed)
        with pytest.raises(SystemExit):
            corpus.process(task(), manifest, "o.jsonl")
    assert list(texts("o.jsonl").values()) == list(corpora.TEXTS)
    assert len(texts(".o.jsonl.redone")) == 3
    whole = Path(".o.jsonl.redone").read_bytes()
    Path(".o.jsonl.redone").write_bytes(whole[:-5])
    with monkeypatch.context() as patch:  # after the rename, before the second file is removed
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(SystemExit):
            corpus.process(task(), manifest, "o.jsonl", errors="none.jsonl")
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert summary.redone == 1
    assert [text == "bee" for text in texts("o.jsonl").values()] == [k in (1, 4, 5, 6) for k in range(8)]
    assert not Path(".o.jsonl.redone").exists()


def test_results_that_were_deleted_stay_so(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    shutil.copy("o.jsonl", ".o.jsonl.redone")
    Path("o.jsonl").unlink()
    assert corpus.process(task(), manifest, "o.jsonl").done == 8
    Path(".o.jsonl.redone").write_text("precious\n")
    for overwrite in (False, True):
        with pytest.raises(corpus.CorpusError, match="is not a result of this"):
            corpus.process(task(), manifest, "o.jsonl", overwrite=overwrite)
    assert Path(".o.jsonl.redone").read_text() == "precious\n"


def test_watchers_see_what_was_written(manifest: Path) -> None:
    """An item whose file cannot be made has a fault for them, too, and not the result that it would have had."""
    (Path("files") / "item 3.json").mkdir(parents=True)
    seen: list[corpus.Outcome] = []
    corpus.process(task(formats=("json",)), manifest, "o.jsonl", folder="files", watch=(seen.append,))
    assert len(seen) == 8
    assert {o.id: o.fault.kind for o in seen if o.fault is not None} == {"item 3": "exists"}
    assert [o.id for o in seen if o.result is None] == ["item 3"]


def test_a_file_that_cannot_be_made_is_made_by_the_next_run(manifest: Path) -> None:
    """The line of an item is written after its files: or it would be skipped, and its files never be made."""
    blocked = Path("files") / "item 3.json"
    blocked.mkdir(parents=True)
    summary = corpus.process(task(formats=("json",)), manifest, "o.jsonl", folder="files")
    assert (summary.done, dict(summary.faults)) == (7, {"exists": 1})
    assert "item 3" not in texts("o.jsonl")
    blocked.rmdir()
    assert corpus.process(task(formats=("json",)), manifest, "o.jsonl", folder="files").done == 1
    assert blocked.is_file()


@unix
@pytest.mark.timeout(60)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_file_in_the_place_of_an_items_file(manifest: Path, overwrite: bool) -> None:
    """It is that item's fault: nothing waits for the reader of a pipe, and the others are done."""
    folder = Path("files")
    (folder / "item 0.json").mkdir(parents=True)
    os.mkfifo(folder / "item 1.json")
    (folder / "item 2.json").symlink_to("item 2.json")
    (folder / "item 3.json").symlink_to("/dev/null")
    summary = corpus.process(
        task(formats=("json",)), manifest, "o.jsonl", folder=folder, errors="e.jsonl", overwrite=overwrite
    )
    assert (summary.done, dict(summary.faults)) == (4, {"exists": 4})
    assert list(texts("o.jsonl")) == [f"item {k}" for k in range(4, 8)]
    for entry in corpora.read_lines(Path("e.jsonl")):
        assert f"{entry['id']}.json' exists and is not a file" in entry["message"]


def test_a_folder_that_cannot_be_made(manifest: Path) -> None:
    Path("files").write_text("precious")
    for folder in ("files", "files/below"):
        with pytest.raises(corpus.CorpusError, match="no files can be written to the folder"):
            corpus.process(task(formats=("json",)), manifest, folder=folder)
    assert Path("files").read_text() == "precious"


@unix
def test_an_errors_file_that_is_empty_or_a_link(manifest: Path) -> None:
    """An empty file may be the user's; where the errors are a link, the list that it names is removed."""
    Path("e.jsonl").touch()
    corpus.process(task(), manifest, errors="e.jsonl")
    assert Path("e.jsonl").read_bytes() == b""
    change_text(manifest, 0, "?")
    Path("link.jsonl").symlink_to("e.jsonl")
    assert corpus.process(task(), manifest, errors="link.jsonl").failed == 1
    assert len(corpora.read_lines(Path("e.jsonl"))) == 1
    change_text(manifest, 0, "bee")
    assert corpus.process(task(), manifest, errors="link.jsonl").failed == 0
    assert not Path("e.jsonl").exists()
    assert Path("link.jsonl").is_symlink()


def test_results_of_before_there_were_digests_of_inputs(manifest: Path) -> None:
    """They are neither trusted nor lost: the items are done again, and what fails keeps its result, marked."""
    corpus.process(task(), manifest, "o.jsonl")
    lines = corpora.read_lines(Path("o.jsonl"))
    for line in lines:
        del line["inputs"]
    Path("o.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    change_text(manifest, 0, "?")
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert (summary.done, summary.redone, summary.skipped, summary.stale) == (7, 7, 0, 1)
    entries = corpora.read_lines(Path("o.jsonl"))
    assert [entry["id"] for entry in entries] == [line["id"] for line in lines]
    assert [entry.get("stale", False) for entry in entries] == [True] + 7 * [False]
    assert entries[0]["text"] == lines[0]["text"]


@unix
def test_outputs_that_are_no_files(manifest: Path) -> None:
    assert corpus.process(task(), manifest, "/dev/null", errors="/dev/null").done == 8
    assert corpus.process(task(), manifest, "/dev/null").done == 8
    assert not Path("/dev/.null.lock").exists()
    with pytest.raises(corpus.CorpusError, match="cannot be written to '/dev/full'"):
        corpus.process(task(), manifest, "/dev/full")


def test_items_that_are_skipped_are_told(manifest: Path) -> None:
    ids: list[str] = []
    corpus.process(task(), manifest, "o.jsonl", limit=2)
    summary = corpus.process(task(), manifest, "o.jsonl", skipped=lambda item: ids.append(item.id))
    assert len(ids) == summary.skipped == 2
    done = [json.loads(line)["id"] for line in Path("o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert ids == done[:2]
