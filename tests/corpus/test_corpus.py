"""Corpora: what is read, what is written, and that nothing is lost, whoever dies."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit import corpus
from tests.tools import corpora

unix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return corpora.write_corpus(tmp_path / "corpus")


def task(manifest: Path, **options: Any) -> corpus.AlignTask:
    return corpus.AlignTask(vocabulary=str(manifest.parent / "vocab.json"), frame_duration=0.02, **options)


def loss_task(manifest: Path, **options: Any) -> corpus.LossTask:
    return corpus.LossTask(vocabulary=str(manifest.parent / "vocab.json"), **options)


def fault_of(outcome: corpus.Outcome) -> tuple[str, str]:
    assert outcome.fault is not None
    assert outcome.result is None
    return outcome.fault.kind, outcome.fault.message


# ---------------------------------------------------------------------------------------------------------- manifests


def test_every_field_is_read(tmp_path: Path) -> None:
    line = {
        "id": 7, "emissions": "a.npz[x]", "audio": "a.wav", "text": "hi", "tokens": ["h", 3], "frame_duration": 0.02,
        "offset": 1, "speaker": "ignored",
    }  # fmt: skip
    item, other = corpus.read_manifest(corpora.write_manifest(tmp_path / "m.jsonl", [line, "", {"audio": "b.wav"}]))
    assert item == corpus.Item(
        "7", 1, str(tmp_path / "a.npz[x]"), str(tmp_path / "a.wav"), "hi", ("h", 3), frame_duration=0.02, offset=1
    )
    assert (other.id, other.line, other.audio) == ("b.wav", 3, str(tmp_path / "b.wav"))
    assert corpus.count_items(tmp_path / "m.jsonl") == 3 - 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a"', "not valid JSON"),
        ("[1]", "a JSON list, but must be an object"),
        ({"id": "a", "text": "hi"}, "neither emissions nor audio .its fields: id, text"),
        ({"emissions": 3}, "its emissions is a int, but must be a string"),
        ({"emissions": "a.npy", "text": ["a"]}, "its text is a list"),
        ({"emissions": "a.npy", "tokens": "abc"}, "its tokens must be a list"),
        ({"emissions": "a.npy", "tokens": [1.5]}, "its tokens must be a list"),
        ({"emissions": "a.npy", "frame_duration": "fast"}, "its frame_duration is a str"),
        ({"emissions": "a.npy", "id": ["x"]}, "its id is a list"),
        ({"emissions": "good.npy"}, "the id 'good.npy' is also that of line 1"),
    ],
)
def test_a_bad_line_is_an_item_with_a_fault(tmp_path: Path, line: Any, message: str) -> None:
    path = corpora.write_manifest(tmp_path / "m.jsonl", [{"emissions": "good.npy"}, line, {"emissions": "other.npy"}])
    good, bad, other = corpus.read_manifest(path)
    assert (good.fault, other.fault) == (None, None)
    assert (bad.id, bad.line) == ("line 2", 2)
    kind, words = fault_of(corpus.LossTask()(bad))
    assert kind == "manifest"
    assert re.search(message, words), words


def test_bad_bytes_are_a_fault_too(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"id": "\xff"}\n')
    (item,) = corpus.read_manifest(tmp_path / "m.jsonl")
    assert item.fault is not None


def test_parquet_is_read_as_json_lines_are(manifest: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = corpora.read_lines(manifest)
    rows[1]["tokens"] = [1, 2]
    corpora.write_manifest(manifest, rows)
    parquet.write_table(
        pa.Table.from_pylist([{"tokens": None, **row} for row in rows]), manifest.with_suffix(".parquet")
    )
    assert list(corpus.read_manifest(manifest.with_suffix(".parquet"))) == list(corpus.read_manifest(manifest))
    assert corpus.count_items(manifest.with_suffix(".parquet")) == len(rows)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "nowhere.parquet", "."])
def test_no_manifest(tmp_path: Path, name: str) -> None:
    with pytest.raises(corpus.CorpusError, match=r"does not exist|is a folder"):
        list(corpus.read_manifest(tmp_path / name))


def test_what_is_called_parquet_must_be(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_text("{}")
    with pytest.raises(corpus.CorpusError, match=r"pip install|cannot be read"):
        list(corpus.read_manifest(tmp_path / "m.parquet"))


# ---------------------------------------------------------------------------------------------------------- emissions


def load(path: str | Path) -> torch.Tensor:
    return corpus.load_emissions(corpus.Item("a", 1, emissions=str(path)))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_arrays_of_numpy(tmp_path: Path, dtype: str) -> None:
    x = np.arange(12).reshape(4, 3).astype(dtype)
    np.save(tmp_path / "x.npy", x[None])
    np.savez_compressed(tmp_path / "x.npz", x)
    np.savez(tmp_path / "two.npz", a=x + 1, b=x)
    for name in ("x.npy", "x.npz", "two.npz[b]"):
        assert np.array_equal(load(tmp_path / name).numpy(), x)


def test_npy_is_mapped_not_read(tmp_path: Path) -> None:
    """A file as large as no memory: sparse on the disk, and one frame of it is looked at."""
    shape = (1 << 22, 1 << 14)  # 256 GiB
    path = tmp_path / "huge.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        try:
            file.truncate(file.tell() + 4 * shape[0] * shape[1])
        except OSError:
            pytest.skip("this file system has no sparse files")
    try:
        x = load(path)
    except ValueError as error:
        pytest.skip(f"no address space for it: {error}")
    assert x.shape == shape
    assert float(x[-1].sum()) == 0


def test_safetensors(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    x = torch.randn(5, 3)
    save_file({"a": x.bfloat16(), "b": x}, tmp_path / "x.safetensors")
    assert torch.equal(load(f"{tmp_path}/x.safetensors[b]"), x)
    assert torch.equal(load(f"{tmp_path}/x.safetensors[a]"), x.bfloat16())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.npy", "there is no file"),
        ("text.npy", "cannot be read"),
        ("text.npz", "cannot be read"),
        ("pickle.npy", "cannot be read"),
        ("two.npz", r"has 2 arrays: name one as two\.npz\[NAME\], where NAME is one of a, b"),
        ("two.npz[c]", "has no array 'c'"),
        ("whole.npy", r"are int64 of shape \(2, 2\), but must be floating-point, \(T, C\)"),
        ("vector.npy", r"of shape \(3,\)"),
        ("words.txt", "is not a file of emissions"),
    ],
)
def test_bad_emissions(tmp_path: Path, name: str, message: str) -> None:
    for junk in ("text.npy", "text.npz", "words.txt"):
        (tmp_path / junk).write_text("junk")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    np.save(tmp_path / "whole.npy", np.ones((2, 2), dtype=np.int64))
    np.save(tmp_path / "vector.npy", np.ones(3))
    with pytest.raises(ValueError, match=message):
        load(tmp_path / name)


def test_emissions_of_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "listening.py").write_text(
        "import pathlib, torch\n"
        "print('imported')\n"
        "def hear(path):\n"
        "    print('heard')\n"
        "    return torch.full((6, 3), float(pathlib.Path(path).read_text())).requires_grad_()\n"
        "def fail(path): raise RuntimeError('deaf')\n"
    )
    (tmp_path / "a.wav").write_text("0.5")
    item = corpus.Item("a", 1, audio=str(tmp_path / "a.wav"), tokens=(1,))
    for _ in range(2):
        x = corpus.load_emissions(item, "listening:hear")
        assert torch.equal(x, torch.full((6, 3), 0.5))
        assert not x.requires_grad
    printed = capsys.readouterr()
    assert printed.out.count("imported") <= 1
    assert "heard" in printed.err
    assert "heard" not in printed.out

    assert fault_of(corpus.LossTask(model="listening:fail")(item)) == (
        "model", f"listening:fail failed for {item.audio!r}: RuntimeError: deaf",
    )  # fmt: skip
    assert "--model" in fault_of(corpus.LossTask()(item))[1]
    for model, message in (
        ("listening", "must be module:function"),
        ("listening:no", "no 'no'"),
        ("nothing:f", "nothing"),
    ):
        with pytest.raises(corpus.CorpusError, match=message):
            list(corpus.run(corpus.LossTask(model=model), [item]))


# -------------------------------------------------------------------------------------------------------------- tasks


def test_losses_are_torchs(manifest: Path) -> None:
    outcomes = list(corpus.run(loss_task(manifest), corpus.read_manifest(manifest)))
    assert [outcome.line for outcome in outcomes] == list(range(1, 9))
    for index, outcome in enumerate(outcomes):
        text = corpora.TEXTS[index].replace(" ", "|")
        x = torch.from_numpy(corpora.log_probs(corpora.TEXTS[index], index)).double()
        targets = torch.tensor([corpora.TOKENS.index(character) for character in text])
        expected = torch.nn.functional.ctc_loss(x, targets, [len(x)], [len(text)], reduction="sum")  # type: ignore[arg-type]
        assert outcome.result is not None
        assert outcome.result["loss"] == pytest.approx(float(expected), rel=1e-5)
        assert (outcome.result["frames"], outcome.result["labels"]) == (40, len(text))


def test_an_alignment_is_that_of_align(manifest: Path) -> None:
    items = list(corpus.read_manifest(manifest))
    for index, outcome in enumerate(corpus.run(task(manifest), items)):
        x = torch.from_numpy(corpora.log_probs(corpora.TEXTS[index], index))
        expected = ctckit.align(x, corpora.TEXTS[index], corpora.TOKENS, frame_duration=0.02)
        assert outcome.result == expected.to_dict()
        starts = [token["start"] for token in expected.to_dict()["tokens"]]
        assert starts == [3 * position + 1 for position in range(len(corpora.TEXTS[index]))]


def test_what_an_item_says_goes_before_what_the_task_says(manifest: Path) -> None:
    (item, *_) = corpus.read_manifest(manifest)
    other = dataclasses.replace(item, frame_duration=0.5, offset=3.0)
    outcome = task(manifest)(other)
    assert outcome.result is not None
    assert outcome.result["tokens"][0]["start_time"] == 3.0 + 0.5


def test_a_vocabulary_in_any_form(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(manifest.parent)
    Path("tokens.txt").write_text("\n".join(corpora.TOKENS) + "\n")
    Path("list.json").write_text(json.dumps(corpora.TOKENS))
    Path("spelling.py").write_text(
        "from tests.tools import corpora\ntokens = corpora.TOKENS\ndef make(): return tokens\n"
    )
    (item, *_) = corpus.read_manifest(manifest)
    results = [
        corpus.LossTask(vocabulary=name)(item).result
        for name in ("vocab.json", "tokens.txt", "list.json", "spelling:tokens", "spelling:make")
    ]
    assert results[0] is not None
    assert results == [results[0]] * 5
    Path("list.json").write_text(json.dumps([*corpora.TOKENS[:2], *reversed(corpora.TOKENS[2:])]))
    assert corpus.LossTask(vocabulary="list.json")(item).result != results[0]  # the file as it is now
    for name in ("nowhere.json", "spelling:nothing", "spelling.py"):
        with pytest.raises(corpus.CorpusError, match=r"vocabulary"):
            corpus.LossTask(vocabulary=name).prepare()


def test_check_finds_each_kind(tmp_path: Path) -> None:
    x = np.log(np.full((3, 5), 0.2))
    nan, barred = x.copy(), x.copy()
    nan[1, 1] = np.nan
    barred[2] = -np.inf
    for name, values in (("good", x), ("nan", nan), ("barred", barred)):
        np.save(tmp_path / f"{name}.npy", values)
    lines = [
        {"id": "good", "emissions": "good.npy", "tokens": [1, 2]},
        {"id": "long", "emissions": "good.npy", "tokens": [1, 1, 2]},
        {"id": "nan", "emissions": "nan.npy", "tokens": [1]},
        {"id": "barred", "emissions": "barred.npy", "tokens": [1]},
        {"id": "blank", "emissions": "good.npy", "tokens": [1, 0]},
        {"id": "label", "emissions": "good.npy", "tokens": [9]},
        {"id": "no text", "emissions": "good.npy"},
        {"id": "no file", "emissions": "nowhere.npy", "tokens": [1]},
        {"id": "good", "emissions": "good.npy", "tokens": [1]},
    ]
    items = list(corpus.read_manifest(corpora.write_manifest(tmp_path / "m.jsonl", lines)))
    outcomes = list(corpus.run(corpus.CheckTask(), items))
    assert outcomes[0].result == {"frames": 3, "classes": 5, "labels": 2}
    kinds = ["infeasible", "non_finite", "impossible_frame", "blank_label", "label", "text", "missing", "manifest"]
    assert [fault_of(outcome)[0] for outcome in outcomes[1:]] == kinds
    assert fault_of(outcomes[1])[1].startswith("the item needs 4 frames")
    assert not any("item 0" in fault_of(outcome)[1] for outcome in outcomes[1:])
    for other in (corpus.LossTask(), corpus.AlignTask()):
        assert [outcome.fault for outcome in corpus.run(other, items)] == [outcome.fault for outcome in outcomes]


def test_a_text_without_a_vocabulary_stops_the_run(manifest: Path) -> None:
    with pytest.raises(corpus.CorpusError, match="there is no vocabulary: name one"):
        list(corpus.run(corpus.LossTask(), corpus.read_manifest(manifest)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unknown": "guess"}, "unknown is 'guess'"),
        ({"blank": -1}, "blank is -1"),
        ({"formats": ("doc",)}, "no format 'doc'"),
        ({"frame_duration": 0.0}, "must be a positive number"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(corpus.CorpusError, match=message):
        corpus.AlignTask(**options)


def test_bad_workers(manifest: Path) -> None:
    with pytest.raises(corpus.CorpusError, match="workers is 0"):
        list(corpus.run(loss_task(manifest), [], workers=0))


# -------------------------------------------------------------------------------------------------------------- files


def test_files_of_every_format(manifest: Path, tmp_path: Path) -> None:
    formats = ["json", "ctm"]
    for name, module in (("textgrid", "praatio"), ("srt", "webvtt"), ("vtt", "webvtt")):
        try:
            __import__(module)
        except ImportError:
            continue
        formats.append(name)
    folder = tmp_path / "files"
    summary = corpus.process(task(manifest, formats=tuple(formats)), manifest, folder=folder)
    assert (summary.done, summary.failed) == (8, 0)
    assert len(list(folder.iterdir())) == 8 * len(formats)
    assert ctckit.Alignment.from_json(folder / "item 1.json").text == "a bad cab"
    assert (folder / "item 1.ctm").read_text().splitlines()[0].startswith("item_1 1 0.020 ")


def test_resuming_writes_the_same_file_wherever_it_was_cut(manifest: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    summary = corpus.process(loss_task(manifest), manifest, whole)
    assert (summary.done, summary.skipped, summary.frames) == (8, 0, 320)
    content = whole.read_bytes()
    assert not (tmp_path / "whole.errors.jsonl").exists()

    @given(st.integers(0, len(content)))
    def cut(size: int) -> None:
        part = tmp_path / "part.jsonl"
        part.write_bytes(content[:size])
        again = corpus.process(loss_task(manifest), manifest, part)
        assert part.read_bytes() == content
        assert again.skipped == content[:size].count(b"\n")
        assert again.done == 8 - again.skipped

    cut()


def test_results_of_other_options_are_not_mixed(manifest: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "results.jsonl"
    corpus.process(loss_task(manifest), manifest, output, limit=2)
    before = output.read_bytes()
    with pytest.raises(corpus.CorpusError, match="made with other options"):
        corpus.process(loss_task(manifest, logits=True), manifest, output)
    vocabulary = manifest.parent / "vocab.json"
    vocabulary.write_text(vocabulary.read_text() + "\n")
    with pytest.raises(corpus.CorpusError, match="another vocabulary"):
        corpus.process(loss_task(manifest), manifest, output)
    assert output.read_bytes() == before
    assert corpus.process(loss_task(manifest), manifest, output, overwrite=True).done == 8
    output.write_text("precious\n")
    with pytest.raises(corpus.CorpusError, match="line 1 is not a result of this command"):
        corpus.process(loss_task(manifest), manifest, output)
    assert output.read_text() == "precious\n"


def test_bad_items_are_listed_and_tried_again(manifest: Path, tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    moved = manifest.parent / "3.npy"
    moved.rename(tmp_path / "3.npy")
    summary = corpus.process(loss_task(manifest), manifest, output)
    assert (summary.done, summary.failed, dict(summary.faults)) == (7, 1, {"missing": 1})
    (entry,) = corpora.read_lines(tmp_path / "r.errors.jsonl")
    assert (entry["id"], entry["line"], entry["kind"]) == ("item 3", 4, "missing")

    (tmp_path / "3.npy").rename(moved)
    summary = corpus.process(loss_task(manifest), manifest, output)
    assert (summary.done, summary.skipped, summary.failed) == (1, 7, 0)
    assert not (tmp_path / "r.errors.jsonl").exists()
    assert sorted(entry["id"] for entry in corpora.read_lines(output)) == [f"item {index}" for index in range(8)]


@pytest.mark.parametrize("name", ["a/b", ".", "..", "con\x00", "ü" * 300, "a\nb", "%2F", ".hidden"])
def test_any_id_is_a_file_name(tmp_path: Path, name: str) -> None:
    from ctckit.corpus.item_files import file_stem

    path = tmp_path / f"{file_stem(name)}.json"
    path.write_text("x")
    assert path.parent.resolve() == tmp_path.resolve()
    assert not path.name.startswith(".")
    assert file_stem(name) != file_stem(name + "x")


# ---------------------------------------------------------------------------------------------------------- processes


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
    """Item 2 kills one worker, and is done by another; item 5 kills all that try, and is reported; the rest is done."""
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
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed as a whole while it works; its workers end by themselves; the second run does the rest."""
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
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
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
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.05)
    kept = output.read_bytes().count(b"\n")
    assert 5 <= kept < 40
    second = subprocess.run(  # noqa: S603
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert int(second.stdout) == kept
    assert [entry["id"] for entry in corpora.read_lines(output)] == [f"item {index}" for index in range(40)]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@unix
def test_sigkill_is_named() -> None:
    from ctckit.corpus import processes

    assert processes._how_it_ended(-signal.SIGKILL) == "ended by signal 9, SIGKILL"
    assert processes._how_it_ended(-200) == "ended by signal 200, unknown"
    for code in (3, 0, None):
        assert processes._how_it_ended(code) == f"exit code {code}"


def test_free_ends(tmp_path: Path) -> None:
    """The text is only the middle of what is heard: with free ends it is found there, and what is around it is free."""
    heard = "egg and ham"
    np.save(tmp_path / "a.npy", corpora.log_probs(heard, 0))
    (item,) = corpus.read_manifest(
        corpora.write_manifest(tmp_path / "m.jsonl", [{"emissions": "a.npy", "text": "and"}])
    )
    options: dict[str, Any] = {"vocabulary": "tests.tools.corpora:TOKENS"}
    bound = corpus.AlignTask(**options)(item).result
    free = corpus.AlignTask(**options, free_start=True, free_end=True)(item).result
    assert bound is not None
    assert free is not None
    (word,) = free["words"]
    assert word["start"] in (13, 14)  # "a" has the frames 13 and 14, "d" 19 and 20: where nothing is asked of the
    assert word["end"] in (20, 21)  # frames around, the path need not keep both
    assert free["score"] > bound["score"] + 20
