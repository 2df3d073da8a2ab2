"""Corpora: the results of tasks are those of the functions for one item, and runs are resumed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit import corpus
from tests.corpus.tasks import fault_of, loss_task, task
from tests.tools import corpora


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return corpora.write_corpus(tmp_path / "corpus")


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


def test_fields_of_an_item_override_options_of_the_task(manifest: Path) -> None:
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
    assert corpus.LossTask(vocabulary="list.json")(item).result != results[0]  # the current file is read
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


def test_resuming_from_any_truncation_writes_the_same_file(manifest: Path, tmp_path: Path) -> None:
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


def test_free_ends(tmp_path: Path) -> None:
    """The text is the middle of the recording. With free ends it is found there, and the rest costs nothing."""
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
    # "a" has the frames 13 and 14, "d" 19 and 20. Frames outside the text are free, so the path may drop one of each.
    assert word["start"] in (13, 14)
    assert word["end"] in (20, 21)
    assert free["score"] > bound["score"] + 20
