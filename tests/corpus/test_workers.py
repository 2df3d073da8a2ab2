"""Worker processes when something fails: the run ends or goes on, and buffers stay bounded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctckit import corpus
from ctckit.corpus import processes
from tests.corpus.tasks import fault_of, loss_task, task
from tests.tools import corpora

unix = pytest.mark.skipif(sys.platform == "win32", reason="signals")
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with audio and the module ``ears``, which `model` writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    np.save("a.npy", np.log(np.full((9, 3), 1 / 3)))
    return tmp_path


def model(code: str) -> corpus.LossTask:
    Path("ears.py").write_text(f"import os, pathlib, signal, time, torch\n{code}\n")
    return corpus.LossTask(model="ears:hear")


def items(count: int) -> list[corpus.Item]:
    found = []
    for index in range(count):
        path = Path(f"{index}.wav").absolute()
        path.touch()
        found.append(corpus.Item(f"{index}", index + 1, audio=str(path), tokens=(1,)))
    return found


HEAR = """
def hear(path):
    number = int(pathlib.Path(path).stem)
    with open("calls", "a") as calls:
        calls.write(f"{number}\\n")
    act(number)
    return torch.zeros(5, 3).log_softmax(1)
"""


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_that_die_while_they_start_end_the_run(workers: int) -> None:
    task = model("if os.getpid() != int(pathlib.Path('parent').read_text()): os._exit(3)\ndef hear(path): pass")
    Path("parent").write_text(str(os.getpid()))
    if workers == 1:
        assert [outcome.fault is not None for outcome in corpus.run(task, items(2))] == [True, True]
        return
    start = time.monotonic()
    with pytest.raises(corpus.CorpusError, match=r"workers die while they start \(exit code 3\): try workers=1"):
        list(corpus.run(task, items(5), workers=workers))
    assert time.monotonic() - start < 60


@unix
def test_an_item_kills_at_most_two_workers() -> None:
    task = model("def act(number):\n    if number == 2: os.kill(os.getpid(), signal.SIGKILL)\n" + HEAR)
    outcomes = list(corpus.run(task, items(6), workers=2))
    assert [outcome.id for outcome in outcomes] == [str(index) for index in range(6)]
    assert [outcome.fault.kind if outcome.fault else None for outcome in outcomes] == [None] * 2 + ["worker"] + [
        None
    ] * 3
    assert Path("calls").read_text().split().count("2") == 2


@unix
def test_a_worker_that_dies_later_is_no_failed_start() -> None:
    """Each item kills one worker. That is more deaths than failed starts allowed, and all items are done."""
    task = model(
        "def act(number):\n"
        "    done = pathlib.Path(f'{number}.died')\n"
        "    if not done.exists():\n"
        "        done.touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n" + HEAR
    )
    outcomes = list(corpus.run(task, items(6), workers=2))
    assert [outcome.fault for outcome in outcomes] == [None] * 6


STARTS = """
starts = len(pathlib.Path('starts').read_text()) + 1 if pathlib.Path('starts').exists() else 1
if os.getpid() != int(pathlib.Path('parent').read_text()):
    pathlib.Path('starts').write_text("." * starts)
"""


def test_three_failed_starts_in_a_row_end_the_run() -> None:
    """The third worker starts and dies on its first item. Failed starts before it do not count with those after."""
    Path("parent").write_text(str(os.getpid()))
    act = "def act(number):\n    if starts == 3: os._exit(4)\n"
    task = model(f"{STARTS}\n    if starts != 3: os._exit(3)\n{act}{HEAR}")
    with pytest.raises(corpus.CorpusError, match=r"workers die while they start \(exit code 3\)"):
        list(processes.run_in_processes(task, items(3), 1))
    assert len(Path("starts").read_text()) == 6


def test_each_worker_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever OMP_NUM_THREADS says: workers with many threads each would compete for cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    task = model("def hear(path): raise ValueError(f'{torch.get_num_threads()} threads')")
    for outcome in corpus.run(task, items(2), workers=2):
        assert outcome.fault is not None
        assert outcome.fault.message.endswith("1 threads")


def test_no_more_items_are_read_than_the_buffer_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes behind one slow item are buffered up to the limit; a manifest is never read as a whole."""
    monkeypatch.setattr(processes, "_MAX_BUFFERED", 12)
    task = model("def act(number):\n    if number == 0: time.sleep(2)\n" + HEAR)
    taken = 0

    def take() -> Iterator[corpus.Item]:
        nonlocal taken
        for item in items(100):
            taken += 1
            yield item

    outcomes = corpus.run(task, take(), workers=2)
    assert next(outcomes).id == "0"
    assert taken <= 12
    assert [outcome.id for outcome in outcomes] == [str(index) for index in range(1, 100)]


def test_one_process_reads_one_item_at_a_time() -> None:
    taken: list[int] = []

    def take() -> Iterator[corpus.Item]:
        for index in range(5):
            taken.append(index)
            yield corpus.Item(str(index), index + 1, emissions="a.npy", tokens=(1,))

    for count, _ in enumerate(corpus.run(corpus.LossTask(), take()), 1):
        assert len(taken) == count


def test_a_loss_that_is_infinite_is_a_fault() -> None:
    x = np.log(np.full((5, 3), 1 / 3))
    x[:, 1] = -np.inf
    np.save("a.npy", x)
    manifest = corpora.write_manifest(
        Path("m.jsonl"),
        [{"id": "barred", "emissions": "a.npy", "tokens": [1]}, {"id": "good", "emissions": "a.npy", "tokens": [2]}],
    )
    summary = corpus.process(corpus.LossTask(), manifest, "o.jsonl")
    assert (summary.done, dict(summary.faults)) == (1, {"infinite": 1})


PROGRAM = """
import sys
from ctckit import corpus
if __name__ == "__main__":
    task = corpus.LossTask(model="ears:hear")
    try:
        corpus.process(task, "m.jsonl", "o.jsonl", workers=int(sys.argv[1]))
    except KeyboardInterrupt:
        print("interrupted")
"""


@unix
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_ends_workers_and_keeps_results(here: Path, workers: int) -> None:
    """Ctrl-C goes to the whole process group, as from a terminal. Workers ignore it; the parent kills them."""
    model(
        "def act(number):\n"
        "    open('pids', 'a').write(f'{os.getpid()}\\n')\n"
        "    if number >= 3: time.sleep(60)\n" + HEAR
    )
    corpora.write_manifest(
        Path("m.jsonl"),
        [{"id": item.id, "audio": Path(str(item.audio)).name, "tokens": [1]} for item in items(8)],
    )
    Path("program.py").write_text(PROGRAM)
    options: dict[str, Any] = {"start_new_session": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    with subprocess.Popen(  # noqa: S603  # our own code
        [sys.executable, "program.py", str(workers)], env=environment, text=True, **options
    ) as run:
        end = time.monotonic() + 60
        while not (Path("o.jsonl").exists() and Path("o.jsonl").read_bytes().count(b"\n") == 3):
            assert time.monotonic() < end
            time.sleep(0.02)
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=30)
    assert (out, "Traceback" in err) == ("interrupted\n", False)
    assert [entry["id"] for entry in corpora.read_lines(Path("o.jsonl"))] == ["0", "1", "2"]
    end = time.monotonic() + 20
    for pid in {int(line) for line in Path("pids").read_text().split()}:
        while corpora.is_running(pid):
            assert time.monotonic() < end, "a worker outlives its parent"
            time.sleep(0.05)


def test_workers_give_the_same_in_the_same_order(manifest: Path, tmp_path: Path) -> None:
    lines = corpora.read_lines(manifest)
    lines.insert(3, {"id": "bad", "emissions": "nowhere.npy", "text": "x"})
    corpora.write_manifest(manifest, lines)
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    corpus.process(task(manifest), manifest, one)
    summary = corpus.process(task(manifest), manifest, two, workers=2)
    assert (summary.done, summary.failed) == (8, 1)
    assert one.read_bytes() == two.read_bytes()
    assert (tmp_path / "one.errors.jsonl").read_bytes() == (tmp_path / "two.errors.jsonl").read_bytes()


MORTAL = """
import os, pathlib, signal, time, torch
from tests.tools import corpora
def hear(path):
    path = pathlib.Path(path)
    seed = int(path.stem)
    if seed == 2 and not path.with_suffix(".died").exists():
        path.with_suffix(".died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.from_numpy(corpora.log_probs(corpora.TEXTS[seed % 8], seed))
"""


@unix
def test_a_worker_that_dies_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Item 2 kills one worker and is done by another. Item 5 kills two and has a fault. The others are done."""
    manifest = corpora.write_corpus(tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    Path("mortal.py").write_text(MORTAL)
    lines = []
    for index in range(8):
        Path(f"{index}.wav").touch()
        lines.append({"id": f"item {index}", "audio": f"../{index}.wav", "text": corpora.TEXTS[index]})
    expected = list(corpus.run(loss_task(manifest), list(corpus.read_manifest(manifest))))
    corpora.write_manifest(manifest, lines)
    outcomes = list(corpus.run(loss_task(manifest, model="mortal:hear"), corpus.read_manifest(manifest), workers=2))
    assert Path("2.died").exists()
    kind, message = fault_of(outcomes[5])
    assert kind == "worker"
    assert "SIGKILL" in message
    for index in (0, 1, 2, 3, 4, 6, 7):
        assert outcomes[index] == expected[index]


def test_what_stops_a_run_stops_workers(manifest: Path) -> None:
    with pytest.raises(corpus.CorpusError, match="nowhere"):
        list(corpus.run(corpus.LossTask(vocabulary="nowhere.json"), corpus.read_manifest(manifest), workers=2))


SLOW = """
import os, pathlib, time, torch
from tests.tools import corpora
def hear(path):
    with open("pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(0.05)
    seed = int(pathlib.Path(path).stem)
    return torch.from_numpy(corpora.log_probs(corpora.TEXTS[seed % 8], seed))
"""


@unix
def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    """The parent is killed during the run. Its workers end by themselves, and a second run does the rest."""
    manifest = corpora.write_corpus(tmp_path / "corpus", 40)
    (tmp_path / "slow.py").write_text(SLOW)
    lines = corpora.read_lines(manifest)
    for index, line in enumerate(lines):
        (tmp_path / f"{index}.wav").touch()
        line["audio"] = f"../{index}.wav"
        del line["emissions"]
    corpora.write_manifest(manifest, lines)
    code = (
        "from ctckit import corpus\n"
        "if __name__ == '__main__':\n"
        "    task = corpus.LossTask(vocabulary='corpus/vocab.json', model='slow:hear')\n"
        "    print(corpus.process(task, 'corpus/items.jsonl', 'out.jsonl', workers=2).skipped)\n"
    )
    (tmp_path / "program.py").write_text(code)
    environment = corpora.environment()
    command = [sys.executable, "program.py"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as first:  # noqa: S603  # our own
        output = tmp_path / "out.jsonl"
        end = time.monotonic() + 60
        while not (output.exists() and output.read_bytes().count(b"\n") >= 5):
            assert time.monotonic() < end
            assert first.poll() is None
            time.sleep(0.02)
        first.kill()
    pids = {int(line) for line in (tmp_path / "pids").read_text().split()}
    end = time.monotonic() + 20
    while any(corpora.is_running(pid) for pid in pids):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.05)
    kept = output.read_bytes().count(b"\n")
    assert 5 <= kept < 40
    second = subprocess.run(  # noqa: S603
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert int(second.stdout) == kept
    assert [entry["id"] for entry in corpora.read_lines(output)] == [f"item {index}" for index in range(40)]


@unix
def test_sigkill_is_named() -> None:
    from ctckit.corpus import processes

    assert processes._how_it_ended(-signal.SIGKILL) == "ended by signal 9, SIGKILL"
    assert processes._how_it_ended(-200) == "ended by signal 200, unknown"
    for code in (3, 0, None):
        assert processes._how_it_ended(code) == f"exit code {code}"
