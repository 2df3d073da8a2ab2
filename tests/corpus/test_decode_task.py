"""Decoding a corpus: the results are those of the decoder for one item; bad items; resumed runs; workers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit import corpus
from ctckit.corpus.tasks import Task
from tests.corpus.tasks import fault_of
from tests.tools import corpora

pytest.importorskip("rapidfuzz")


def task(**options: Any) -> corpus.DecodeTask:
    return corpus.DecodeTask(vocabulary="corpus/vocab.json", **options)


def item(x: Any, **fields: Any) -> corpus.Item:
    np.save("a.npy", np.asarray(x))
    return corpus.Item("a", 1, emissions="a.npy", **fields)


def result_of(outcome: corpus.Outcome) -> dict[str, Any]:
    assert outcome.fault is None, outcome.fault
    assert outcome.result is not None
    return outcome.result


@pytest.mark.parametrize(
    "options",
    [
        {}, {"nbest": 3}, {"beam_width": 4}, {"beam_width": (2, 64)}, {"rescore": False}, {"beam_threshold": 2.0},
        {"token_threshold": 0.01}, {"blank_threshold": 0.9}, {"logits": True}, {"blank": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_result_is_that_of_the_decoder(manifest: Path, options: dict[str, Any]) -> None:
    for index, outcome in enumerate(corpus.run(task(**options, error_rates=False), corpus.read_manifest(manifest))):
        x = torch.from_numpy(corpora.log_probs(corpora.TEXTS[index], index))
        expected: Any = ctckit.Decoder(corpora.TOKENS, **options)(x)
        assert result_of(outcome) == expected.to_dict() | {"frames": 40}
        assert result_of(outcome)["text"] == corpora.TEXTS[index]


def test_the_fields_of_a_result(manifest: Path) -> None:
    result = result_of(task(nbest=2)(next(corpus.read_manifest(manifest))))
    names = {"text", "words", "score", "acoustic_score", "exact", "certified", "lost", "confidence", "nbest"}
    assert names <= result.keys()
    assert (result["words"], len(result["nbest"]), result["reference"]["wer"]) == (["cab"], 2, 0.0)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize("rescore", [True, False])
def test_greedy(manifest: Path, rescore: bool) -> None:
    for index, outcome in enumerate(corpus.run(task(greedy=True, rescore=rescore), corpus.read_manifest(manifest))):
        x = torch.from_numpy(corpora.log_probs(corpora.TEXTS[index], index))
        expected: Any = ctckit.greedy_decode(x, rescore=rescore)
        result = result_of(outcome)
        assert (result["text"], tuple(result["tokens"])) == (corpora.TEXTS[index], expected.tokens)
        assert (result["path_score"], result.get("score")) == (expected.path_score, expected.score)


def test_an_alignment_has_the_times_of_the_item(manifest: Path) -> None:
    (first, *_) = corpus.read_manifest(manifest)
    late = dataclasses.replace(first, offset=3.0, frame_duration=0.5)
    decoding = task(alignment=True, frame_duration=0.02, formats=("ctm", "json"))
    for given, start, duration in ((first, 0.0, 0.02), (late, 3.0, 0.5)):
        outcome = decoding(given)
        found = ctckit.Alignment.from_dict(result_of(outcome)["alignment"])
        x = torch.from_numpy(corpora.log_probs("cab", 0))
        expected = ctckit.align(x, list("cab"), corpora.TOKENS, frame_duration=duration, offset=start)
        assert found == expected
        assert dict(outcome.files) == {
            "item 0.ctm": expected.to_ctm(recording="item_0"), "item 0.json": expected.to_json()
        }  # fmt: skip
    plain = task(formats=("srt",))(dataclasses.replace(first, frame_duration=0.5))
    assert ("alignment" in result_of(plain), len(plain.files)) == (False, 1)


# ------------------------------------------------------------------------------------------------------------ reference


@pytest.mark.usefixtures("manifest")
def test_a_reference_is_the_text_or_the_tokens() -> None:
    x = corpora.log_probs("a cab", 0)
    for fields, text, errors in (
        ({"text": "a bad cab"}, "a bad cab", 1), ({"text": "A cab!"}, "A cab!", 2), ({"text": ""}, "", 2),
        ({"tokens": ("c", "a", "b")}, "cab", 1), ({"tokens": (2, 1, 4, 2, 3)}, "a cab", 0),
        ({"text": "a cab", "tokens": ("b",)}, "a cab", 0),
    ):  # fmt: skip
        result = result_of(task()(item(x, **fields)))
        assert (result["reference"]["text"], result["reference"]["word_errors"]) == (text, errors)
    assert "reference" not in result_of(task()(item(x)))
    assert "reference" not in result_of(task(error_rates=False)(item(x, text="a")))
    kind, message = fault_of(task()(item(x, tokens=("c", "9"))))
    assert kind == "text"
    assert "9" in message


# ----------------------------------------------------------------------------------------------------------- bad items


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("greedy", [False, True])
def test_bad_items(greedy: bool) -> None:
    x = corpora.log_probs("cab", 0)
    decode = task(greedy=greedy)
    broken = x.copy()
    broken[3, 2] = np.nan
    kind, message = fault_of(decode(item(broken)))
    assert (kind, message.split(" (")[0]) == ("non_finite", "emissions[3, 2]")
    broken[3, 2] = np.inf
    assert fault_of(decode(item(broken)))[0] == "non_finite"
    broken[3] = -np.inf
    assert fault_of(decode(item(broken))) == (
        "impossible_frame",
        "no labelling has a probability above 0 after frame 3: all that it needs is -inf",
    )
    assert fault_of(decode(item(x[:, :5])))[0] == "classes"
    assert fault_of(decode(item(np.exp(x))))[0] == "positive"
    assert fault_of(decode(corpus.Item("a", 1, emissions="nowhere.npy")))[0] == "missing"
    assert fault_of(decode(item(x, frame_duration=1e308)))[0] == "time"


@pytest.mark.usefixtures("manifest")
def test_what_looks_wrong_is_a_warning() -> None:
    x = corpora.log_probs("cab", 0)
    wide = np.concatenate([x, np.full((40, 3), -50.0, np.float32)], axis=1)
    outcome = task()(item(wide))
    assert result_of(outcome)["text"] == "cab"
    assert len(outcome.warnings) == 1
    assert "31 classes" in outcome.warnings[0]
    (warning,) = task()(item(x + 1)).warnings
    assert "log-probabilities" in warning or "logits" in warning


@pytest.mark.usefixtures("manifest")
def test_no_frames_and_nothing_said() -> None:
    result = result_of(task(alignment=True)(item(np.zeros((0, 28), np.float32), text="a")))
    assert (result["text"], result["score"], result["alignment"]["words"]) == ("", 0.0, [])
    silent = np.log(np.full((5, 28), 1e-9)).astype(np.float32)
    silent[:, 0] = 0.0
    outcome = task(alignment=True, frame_duration=0.02, formats=("ctm", "srt", "vtt", "json"))(item(silent))
    assert (result_of(outcome)["text"], result_of(outcome)["words"]) == ("", [])


# -------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 0}, "beam_width is 0, but must be from 1"), ({"beam_width": (8, 4)}, "must not exceed"),
        ({"beam_width": (1, 2, 3)}, "the first and the largest"), ({"nbest": 17}, "nbest is 17, but a beam of 16"),
        ({"nbest": 5, "beam_width": (4, 64)}, "nbest is 5, but a beam of 4"), ({"nbest": 0}, "nbest is 0"),
        ({"nbest": 1.5}, "nbest"), ({"beam_threshold": -1.0}, "beam_threshold is -1.0"),
        ({"token_threshold": 2.0}, "token_threshold is 2.0"), ({"blank_threshold": float("nan")}, "blank_threshold"),
        ({"frame_duration": 0.0}, "frame_duration is 0.0"), ({"formats": ("doc",)}, "no format 'doc'"),
        ({"greedy": True, "nbest": 2}, "greedy"), ({"greedy": True, "beam_width": 4}, "greedy"),
        ({"greedy": True, "token_threshold": 0.1}, "greedy"), ({"blank": -1}, "blank is -1"),
    ],
    ids=str,
)  # fmt: skip
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(corpus.CorpusError, match=message):
        corpus.DecodeTask(**options)


def test_a_text_needs_a_vocabulary(manifest: Path) -> None:
    for run in (corpus.DecodeTask().prepare, lambda: corpus.DecodeTask()(next(corpus.read_manifest(manifest)))):
        with pytest.raises(corpus.CorpusError, match="decoding needs a vocabulary"):
            run()


@pytest.mark.usefixtures("manifest")
def test_each_option_has_its_digest() -> None:
    others: list[Task] = [
        task(beam_width=8), task(beam_width=(8, 16)), task(nbest=2), task(greedy=True), task(rescore=False),
        task(beam_threshold=5.0), task(token_threshold=0.1), task(blank_threshold=0.9), task(frame_duration=0.02),
        task(alignment=True), task(formats=("ctm",)), task(error_rates=False), task(blank=0), task(logits=True),
    ]  # fmt: skip
    assert len({task().digest(), *(other.digest() for other in others)}) == 1 + len(others)
    assert task(beam_width=[8, 16]).digest() == task(beam_width=(8, 16)).digest()


# ----------------------------------------------------------------------------------------------------------------- runs


def run(manifest: Path, **options: Any) -> corpus.Summary:
    return corpus.process(task(), manifest, "out.jsonl", **options)


def test_a_run_is_resumed(manifest: Path) -> None:
    assert run(manifest, limit=3).done == 3
    summary = run(manifest)
    assert (summary.done, summary.skipped) == (5, 3)
    resumed = Path("out.jsonl").read_bytes()
    run(manifest, overwrite=True)
    assert Path("out.jsonl").read_bytes() == resumed
    with pytest.raises(corpus.CorpusError, match="made with other options"):
        corpus.process(task(nbest=2), manifest, "out.jsonl")


def test_changed_items_are_done_again(manifest: Path) -> None:
    run(manifest)
    corpora.change_line(manifest, 2, text="bad")
    np.save("corpus/4.npy", corpora.log_probs("fed", 4))
    summary = run(manifest)
    assert (summary.done, summary.redone, summary.skipped) == (2, 2, 6)
    entries = corpora.read_lines(Path("out.jsonl"))
    assert (entries[2]["reference"]["text"], entries[2]["reference"]["word_errors"]) == ("bad", 1)
    assert entries[4]["text"] == "fed"
    # Tokens do not count where there is a text.
    corpora.change_line(manifest, 3, tokens=["a"])
    assert run(manifest).skipped == 8


def test_the_same_for_any_number_of_workers(manifest: Path) -> None:
    x = corpora.log_probs("dad", 2)
    x[5, 5] = np.nan
    np.save("corpus/2.npy", x)
    options = {"nbest": 3, "beam_width": (4, 32), "alignment": True, "formats": ("ctm",), "frame_duration": 0.02}
    for workers in (1, 3):
        summary = corpus.process(
            task(**options), manifest, f"{workers}.jsonl", folder=f"{workers}", workers=workers
        )  # fmt: skip
        assert (summary.done, summary.faults) == (7, {"non_finite": 1})
    assert Path("1.jsonl").read_bytes() == Path("3.jsonl").read_bytes()
    assert Path("1.errors.jsonl").read_bytes() == Path("3.errors.jsonl").read_bytes()
    for path in Path("1").iterdir():
        assert (Path("3") / path.name).read_bytes() == path.read_bytes()
