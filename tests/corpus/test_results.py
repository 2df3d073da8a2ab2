"""Results on the disk: one run at a time writes them, and no kill loses or doubles one."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

from ctckit import corpus
from ctckit.corpus import results as results_module
from tests.corpus.tasks import task
from tests.tools import corpora

unix = pytest.mark.skipif(sys.platform == "win32", reason="links, signals")


def test_a_second_run_is_refused_or_waits(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl", limit=3)
    before = corpora.snapshot()
    lock = filelock.FileLock(results_module.lock_file(Path("o.jsonl").resolve()))
    with lock:
        for overwrite in (False, True):
            with pytest.raises(corpus.CorpusError, match=r"another run writes to 'o.jsonl'.*--wait"):
                corpus.process(task(), manifest, "o.jsonl", overwrite=overwrite)
        Path("link.jsonl").symlink_to("o.jsonl")
        with pytest.raises(corpus.CorpusError, match="another run"):
            corpus.process(task(), manifest, "link.jsonl", errors="e.jsonl")
        Path("link.jsonl").unlink()
        assert corpora.snapshot() == before
        code = (
            "from ctckit import corpus\n"
            "task = corpus.AlignTask(vocabulary='corpus/vocab.json', frame_duration=0.02)\n"
            "print('waits', flush=True)\n"
            "print(corpus.process(task, 'corpus/items.jsonl', 'o.jsonl', wait=True).done)\n"
        )
        with subprocess.Popen(  # noqa: S603  # our own code
            [sys.executable, "-c", code], env=corpora.environment(), stdout=subprocess.PIPE, text=True
        ) as waiting:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "waits\n"
            time.sleep(0.5)
            assert waiting.poll() is None
            assert corpora.snapshot() == before
            lock.release()
            assert waiting.stdout.read() == "5\n"
    assert len(corpora.read_texts("o.jsonl")) == 8


def test_an_item_that_is_there_twice_is_an_error(manifest: Path) -> None:
    corpus.process(task(), manifest, "o.jsonl")
    lines = Path("o.jsonl").read_text().splitlines(keepends=True)
    doubled = "".join([*lines, lines[2]])
    Path("o.jsonl").write_text(doubled)
    with pytest.raises(corpus.CorpusError, match=r"has the item 'item 2' twice, in lines 3 and 9"):
        corpus.process(task(), manifest, "o.jsonl")
    assert Path("o.jsonl").read_text() == doubled


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
def test_kills_at_any_moment_lose_and_double_no_result(manifest: Path) -> None:
    """A run that repeats half of its items and does the other half for the first time is killed 12 times."""
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
        had = corpora.read_texts("o.jsonl")
        with subprocess.Popen(  # noqa: S603  # our own code
            [sys.executable, "-c", RUN], env=corpora.environment(), stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout is not None
            run.stdout.readline()
            time.sleep(generator.uniform(0, 0.25))
            run.send_signal(signal.SIGKILL)
        content = Path("o.jsonl").read_bytes()
        Path("o.jsonl").write_bytes(content[: content.rfind(b"\n") + 1])
        has = corpora.read_texts("o.jsonl")
        assert set(has) >= set(had), "results are lost"
        assert all(text in (old[name], new[name]) for name, text in has.items())
        assert all(has[name] == new[name] for name, text in had.items() if text == new[name]), "a new result is lost"
        Path("o.jsonl").write_bytes(content)
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert summary.failed == 0
    assert corpora.read_texts("o.jsonl") == new
    assert not Path(".o.jsonl.redone").exists()


def test_results_redone_before_a_kill_are_merged(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill before or during the merge leaves the old result or the new one of each item, never both."""
    corpus.process(task(), manifest, "o.jsonl")
    for index in (1, 4, 6):
        corpora.change_line(manifest, index, text="bee")

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(results_module.ResultsFile, "_merge", killed)
        with pytest.raises(SystemExit):
            corpus.process(task(), manifest, "o.jsonl")
    assert list(corpora.read_texts("o.jsonl").values()) == list(corpora.TEXTS)
    assert len(corpora.read_texts(".o.jsonl.redone")) == 3
    whole = Path(".o.jsonl.redone").read_bytes()
    Path(".o.jsonl.redone").write_bytes(whole[:-5])
    with monkeypatch.context() as patch:  # after the rename, before the second file is removed
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(SystemExit):
            corpus.process(task(), manifest, "o.jsonl", errors="none.jsonl")
    summary = corpus.process(task(), manifest, "o.jsonl")
    assert summary.redone == 1
    assert [text == "bee" for text in corpora.read_texts("o.jsonl").values()] == [k in (1, 4, 5, 6) for k in range(8)]
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


def test_items_that_are_skipped_are_told(manifest: Path) -> None:
    ids: list[str] = []
    corpus.process(task(), manifest, "o.jsonl", limit=2)
    summary = corpus.process(task(), manifest, "o.jsonl", skipped=lambda item: ids.append(item.id))
    assert len(ids) == summary.skipped == 2
    done = [json.loads(line)["id"] for line in Path("o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert ids == done[:2]
