"""A task on one item: options and their defaults, results, faults, warnings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit import corpus
from tests.corpus.tasks import fault_of
from tests.tools import corpora

pytestmark = pytest.mark.usefixtures("here")
TASKS: list[type[corpus.Task]] = [corpus.AlignTask, corpus.LossTask, corpus.CheckTask]
VOCABULARY = "vocab.json"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(VOCABULARY).write_text(json.dumps(corpora.TOKENS))


def item(text: str | None = "cab", x: Any = None, **fields: Any) -> corpus.Item:
    """An item whose emissions spell "cab", or those given."""
    np.save("a.npy", corpora.log_probs("cab", 0) if x is None else np.asarray(x))
    return corpus.Item("a", 1, emissions="a.npy", text=text, **fields)


def result_of(outcome: corpus.Outcome) -> dict[str, Any]:
    assert outcome.fault is None, outcome.fault
    assert outcome.result is not None
    return outcome.result


# -------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blank": -1}, "blank is -1"), ({"max_array_bytes": 0}, "max_array_bytes is 0, but must be at least 1"),
        ({"unknown": "guess"}, "unknown is 'guess'"), ({"unknown": {"words": 5}}, "5"), ({"unknown": 5}, "unknown"),
    ],
    ids=str,
)  # fmt: skip
def test_impossible_options(task: type[corpus.Task], options: dict[str, Any], message: str) -> None:
    with pytest.raises(corpus.CorpusError, match=message):
        task(**options)
    with pytest.raises(TypeError):
        task("vocab.json")  # type: ignore[call-arg]  # options are named
    task(blank=0, max_array_bytes=1)


@pytest.mark.parametrize("value", [0.0, -0.02, math.inf, -math.inf, math.nan])
def test_impossible_numbers(value: float) -> None:
    with pytest.raises(corpus.CorpusError, match=f"frame_duration is {value}, but must be a positive number of"):
        corpus.AlignTask(frame_duration=value)
    kind, message = fault_of(corpus.CheckTask()(item(None, tokens=(4,), frame_duration=value)))
    assert (kind, message) == ("time", f"its frame_duration is {value}, but must be a positive number of seconds")
    if not math.isfinite(value):
        with pytest.raises(corpus.CorpusError, match=f"wildcard_score is {value}, but must be a finite number of nats"):
            corpus.AlignTask(wildcard_score=value)
    else:
        corpus.AlignTask(wildcard_score=value)


@pytest.mark.parametrize("task", [corpus.AlignTask, corpus.CheckTask])
def test_times_beyond_all_numbers(task: type[corpus.Task]) -> None:
    for offset, duration in ((1.2e308, 2e306), (0.0, 1e307), (-1.2e308, -0.0)):
        found = task()(item(None, tokens=(4,), offset=offset, frame_duration=duration or None))
        if duration:
            assert fault_of(found) == (
                "time",
                f"its end is at inf s, 40 frames of {duration} s after {offset} s: these must be finite",
            )
        else:
            assert found.fault is None


def test_wildcards_have_no_loss() -> None:
    for unknown in ("wildcard", {"numbers": "wildcard"}):
        with pytest.raises(corpus.CorpusError, match="unknown is 'wildcard', but a loss has no wildcard"):
            corpus.LossTask(unknown=unknown)
        corpus.AlignTask(unknown=unknown)


def test_equal_options_have_one_digest() -> None:
    skip = {"words": "skip", "numbers": "skip", "punctuation": "skip"}
    digest = corpus.LossTask(unknown="skip").digest()
    assert (
        corpus.LossTask(unknown=skip).digest() == corpus.LossTask(unknown="skip", max_array_bytes=5).digest() == digest
    )
    others: list[corpus.Task] = [
        corpus.LossTask(), corpus.CheckTask(unknown="skip"), corpus.LossTask(unknown="skip", logits=True),
        corpus.LossTask(unknown={**skip, "words": "raise"}), corpus.LossTask(unknown="skip", blank=0),
        corpus.LossTask(unknown="skip", vocabulary=VOCABULARY), corpus.LossTask(unknown="skip", vocabulary="math:pi"),
    ]  # fmt: skip
    assert len({digest, *(task.digest() for task in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"free_start": True}, {"free_end": True}, {"free_start": True, "free_end": True}, {"confidence": False},
        {"frame_duration": 0.5}, {"blank": 0}, {"logits": True}, {"word_separator": "b"},
        {"free_end": True, "wildcard_score": -1.0}, {"free_end": True, "wildcard_score": 0.0},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:emissions hold values up to")
def test_options_are_those_of_align(options: dict[str, Any]) -> None:
    """The emissions are unnormalised scores of three letters; the path depends on each option."""
    x = torch.randn(30, len(corpora.TOKENS), generator=torch.Generator().manual_seed(3)) * 2
    found = result_of(corpus.AlignTask(vocabulary=VOCABULARY, **options)(item(x=x)))
    vocabulary = ctckit.Vocabulary(corpora.TOKENS, word_separator=options.get("word_separator"))
    given = {name: value for name, value in options.items() if name != "word_separator"}
    assert found == ctckit.align(x, "cab", vocabulary, **given).to_dict()


@pytest.mark.parametrize("logits", [None, False, True])
def test_emissions_are_log_probabilities_unless_they_are_logits(logits: bool | None) -> None:
    x = torch.from_numpy(corpora.log_probs("cab", 0)).double() - 0.5
    task = (
        corpus.LossTask(vocabulary=VOCABULARY)
        if logits is None
        else corpus.LossTask(vocabulary=VOCABULARY, logits=logits)
    )
    outcome = task(item(x=x))
    labels = [corpora.TOKENS.index(letter) for letter in "cab"]
    expected = torch.nn.functional.ctc_loss(
        x.log_softmax(1) if logits else x, torch.tensor(labels), torch.tensor(40), torch.tensor(3), reduction="sum"
    )
    assert result_of(outcome)["loss"] == pytest.approx(float(expected))
    assert len(outcome.warnings) == (0 if logits else 1)


def test_capitals_are_looked_up_when_asked_for() -> None:
    for task in TASKS:
        assert fault_of(task(vocabulary=VOCABULARY)(item("CAB")))[0] == "text"
        assert result_of(task(vocabulary=VOCABULARY, fold_case=True)(item("CAB")))


def test_a_blank_that_the_vocabulary_does_not_have() -> None:
    for task in TASKS:
        with pytest.raises(corpus.CorpusError, match="blank"):
            task(vocabulary=VOCABULARY, blank=len(corpora.TOKENS) + 1).prepare()


# --------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("task", TASKS)
def test_too_short_with_the_blank_at_the_end(task: type[corpus.Task]) -> None:
    """The blank is the last class for any number of frames; class 0 is a letter that the text may have."""
    Path(VOCABULARY).write_text(json.dumps(["a", "b", "c"]))
    kind, message = fault_of(task(vocabulary=VOCABULARY)(item("aab", torch.zeros(3, 4).log_softmax(1))))
    assert kind == "infeasible"
    assert "needs 4 frames" in message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("bad"), "bad"), (TypeError("bad"), "bad"), (ImportError("bad"), "bad"),
        (KeyError("bad"), "KeyError: 'bad'"), (RuntimeError("bad"), "RuntimeError: bad"),
        (MemoryError(), "MemoryError: "),
    ],
    ids=repr,
)  # fmt: skip
def test_no_error_of_one_item_ends_a_run(error: Exception, message: str) -> None:
    class Failing(corpus.CheckTask):
        def _do(self, _: corpus.Item) -> corpus.Outcome:
            raise error

    assert fault_of(Failing()(item())) == ("failed", message)


@pytest.mark.parametrize("task", TASKS)
def test_an_item_needs_a_transcript(task: type[corpus.Task]) -> None:
    assert fault_of(task()(item(None))) == ("text", "it has neither text nor tokens: give one of them")
    for found, what in (
        (item("cab"), "text"),
        (item(None, tokens=("c",)), "token by name"),
        (item("", tokens=(4, "a")), "token by name"),
    ):
        with pytest.raises(corpus.CorpusError, match=f"'a' has a {what}, but there is no vocabulary"):
            task()(found)
    by_text = result_of(task(vocabulary=VOCABULARY)(item()))
    for tokens in (("c", "a", "b"), (4, 2, 3), (4, "a", 3)):
        by_tokens = result_of(task(vocabulary=VOCABULARY)(item("hello", tokens=tokens)))
        for result in (by_text, by_tokens):
            result.pop("words", None)  # words of a text have positions in it
        assert by_tokens == by_text
    assert result_of(task()(item(None, tokens=())))


@pytest.mark.parametrize("task", TASKS)
def test_a_text_of_which_nothing_is_left(task: type[corpus.Task]) -> None:
    kind, message = fault_of(task(vocabulary=VOCABULARY, unknown="skip")(item("1, 2!")))
    assert kind == "text"
    assert "nothing is left of the text" in message
    dropped = result_of(task(vocabulary=VOCABULARY, unknown="skip")(item("cab!")))["dropped"]
    assert list(dropped) == ["!"]
    assert "dropped" not in result_of(corpus.LossTask(vocabulary=VOCABULARY, unknown="skip")(item("cab")))


def test_a_loss_that_is_infinite() -> None:
    """Each frame has a class that the text needs, but no path goes through these classes."""
    x = np.full((5, 3), math.log(1 / 3))
    x[:, 1] = -math.inf
    kind, message = fault_of(corpus.LossTask()(item(None, x=x, tokens=(1,))))
    assert (kind, message) == ("infinite", "its loss is inf: classes at -inf bar every path")


@pytest.mark.parametrize("task", [corpus.LossTask, corpus.CheckTask])
def test_another_vocabulary(task: type[corpus.Task]) -> None:
    classes = len(corpora.TOKENS)
    for count in (classes - 1, classes + 2):
        x = torch.zeros(40, count).log_softmax(1)
        outcome = task(vocabulary=VOCABULARY)(item(x=x))
        words = f"emissions have {count} classes, {'fewer' if count < classes else 'more'} than the {classes} of the"
        if task is corpus.LossTask and count > classes:  # the loss can be computed
            assert len(outcome.warnings) == 1
            assert outcome.warnings[0].startswith(words)
        else:
            kind, message = fault_of(outcome)
            assert (kind, message.startswith(words)) == ("classes", True)
    for count in (classes, classes + 1):
        assert task(vocabulary=VOCABULARY)(item(x=torch.zeros(40, count).log_softmax(1))).fault is None


def test_messages_name_the_item() -> None:
    """The first problem gives the kind. The message begins with a wrong number of classes."""
    x = np.full((2, 3), math.log(1 / 3))
    for task in TASKS:
        kind, message = fault_of(task(vocabulary=VOCABULARY)(item("cc", x=x)))
        assert kind == "label"
        assert message.startswith("emissions have 3 classes, fewer than the 28 of the vocabulary: ")
        assert "; targets: label 0 of the item is 4, " in message
        x[1, 1] = math.nan
        kind, message = fault_of(task()(item(None, x=x, tokens=(1,))))
        assert kind == "non_finite"
        assert message.startswith(
            "emissions[1, 1] (frame, class) is nan, the first of 1 such values in the item: look for"
        )
        x[1, 1] = math.log(1 / 3)
        kind, message = fault_of(task()(item(None, x=x, tokens=(1, 1))))
        assert (kind, message[:33]) == ("infeasible", "the item needs 3 frames (2 labels")


# ------------------------------------------------------------------------------------------------------------- warnings


def probabilities() -> Any:
    return np.exp(corpora.log_probs("cab", 0))


def halves() -> Any:
    return corpora.log_probs("cab", 0) + np.float32(math.log(0.5))


@pytest.mark.parametrize(
    ("make", "words"), [(probabilities, "emissions hold probabilities"), (halves, "add up to 0.5 instead of 1")]
)
def test_what_looks_wrong(make: Callable[[], Any], words: str) -> None:
    """Aligning and measuring warn every time; checking makes it a fault."""
    for task in (corpus.AlignTask, corpus.LossTask):
        for _ in range(2):
            outcome = task(vocabulary=VOCABULARY)(item(x=make()))
            assert result_of(outcome)
            (warning,) = outcome.warnings
            assert words in warning
    kind, message = fault_of(corpus.CheckTask(vocabulary=VOCABULARY)(item(x=make())))
    assert kind == ("positive" if make is probabilities else "unnormalised")
    assert words in message
    assert corpus.AlignTask(vocabulary=VOCABULARY)(item()).warnings == ()


def test_emissions_that_are_a_place_holder() -> None:
    """Emissions of all zeros are placeholders, so they need not be log-probabilities."""
    zeros = np.zeros((40, len(corpora.TOKENS)), dtype=np.float32)
    assert result_of(corpus.CheckTask(vocabulary=VOCABULARY)(item(x=zeros))) == {
        "frames": 40,
        "classes": 28,
        "labels": 3,
    }
    kind, _ = fault_of(corpus.CheckTask(vocabulary=VOCABULARY)(item(x=zeros[:, 1:])))
    assert kind == "classes"
    zeros[3, 2] = 0.5
    assert fault_of(corpus.CheckTask(vocabulary=VOCABULARY)(item(x=zeros)))[0] == "positive"
