"""What to do with one item: align it, measure its loss, or check it.

A task is a set of options. Called with an item, it returns an `Outcome`; a bad item is an outcome too, never an
exception. A task can be pickled, so any process can run it. Each process loads the vocabulary and the model once.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ctckit
from ctckit.alignment.requests import refuse_lost
from ctckit.corpus.archives import MAX_ARRAY_BYTES
from ctckit.corpus.digests import file_digest, inputs_digest, object_digest, short_digest
from ctckit.corpus.emissions import load_emissions
from ctckit.corpus.errors import CorpusError, ItemError
from ctckit.corpus.formats import FORMATS, named_format
from ctckit.corpus.item_files import file_stem
from ctckit.corpus.manifest import Item
from ctckit.corpus.objects import load_object
from ctckit.corpus.outcomes import Fault, Outcome
from ctckit.corpus.vocabularies import is_object, load_vocabulary
from ctckit.lattice.diagnosis import Problem
from ctckit.lattice.plausibility import implausible
from ctckit.output.alignment import Alignment
from ctckit.text.blank import blank_of
from ctckit.text.unknown import UnknownPolicy
from ctckit.text.vocabulary import Transcript, Vocabulary

__all__ = [
    "AlignTask",
    "CheckTask",
    "LossTask",
    "Task",
    "check_formats",
    "check_frame_duration",
    "check_times",
    "class_count_problems",
    "files_of",
    "item_error",
]

_PATHS = ("vocabulary", "lm", "lexicon", "hotwords")  # options that may be paths
_NOT_LOG_PROBS = ("positive", "unnormalised")  # kinds of `implausible`


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """The options of all tasks."""

    vocabulary: str | None = None
    """Path of a vocab.json (a list, or an object from token to class), of a tokens.txt, or of a .txt file with one
    token per line. Or ``module:name`` of a list, dict or tokenizer, or of a function that returns one."""
    blank: int | None = None
    """Class of the blank. None: the vocabulary's blank; else the last class if the emissions have one class more than
    the vocabulary; else 0."""
    logits: bool = False
    """Whether emissions are logits rather than log-probabilities."""
    model: str | None = None
    """``module:function`` of a model that turns audio into emissions, see `load_emissions`."""
    word_separator: str | None = None
    """Token between words; None to find it in the vocabulary, "" for none."""
    fold_case: bool = False
    """Whether to look up a character in the other case if the vocabulary lacks it."""
    unknown: str | Mapping[str, str] = "raise"
    """What to do with characters that the vocabulary lacks: "raise", "wildcard" or "skip". Or a dict from "words",
    "numbers" and "punctuation", or some of them, to one of these."""
    max_array_bytes: int = MAX_ARRAY_BYTES
    """Maximal size of an array in an .npz or .safetensors file, in bytes."""

    def __post_init__(self) -> None:
        try:
            UnknownPolicy.of(self.unknown)
        except (ValueError, TypeError) as error:
            raise CorpusError(str(error)) from None
        if self.blank is not None and self.blank < 0:
            raise CorpusError(f"blank is {self.blank}, but classes are numbered from 0")
        if self.max_array_bytes < 1:
            raise CorpusError(f"max_array_bytes is {self.max_array_bytes}, but must be at least 1")

    def prepare(self) -> None:
        """Load the vocabulary and the model.

        Raises:
            CorpusError: if one cannot be loaded.
        """
        self._vocabulary()
        if self.model is not None:
            load_object(self.model, "model")

    def digest(self) -> str:
        """Return a digest of the options and of the vocabulary's file."""
        return short_digest([type(self).__name__, self._options()])

    def _options(self) -> dict[str, Any]:
        """Return the options on which results depend: a file by its digest."""
        options: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        del options["max_array_bytes"]  # no result depends on it
        options["unknown"] = UnknownPolicy.of(self.unknown)
        if self.vocabulary is not None:
            source = self.vocabulary
            options["vocabulary"] = [source, object_digest(source)] if is_object(source) else file_digest(source)
        return options

    def files(self) -> dict[str, str]:
        """Return the files that are read beside the vocabulary and the model: paths, by what the files are."""
        return {}

    def at_absolute_paths(self) -> Task:
        """Return the same task for a process in another folder."""
        given = {name: getattr(self, name, None) for name in _PATHS}
        absolute: dict[str, Any] = {name: str(Path(x).absolute()) for name, x in given.items() if x and _is_path(x)}
        return replace(self, **absolute)

    def inputs(self, item: Item) -> str:
        """Return a digest of an item's inputs.

        The inputs are: text or tokens, frame_duration and offset; path, size and date of the emissions. For an item
        without emissions: path, size and date of the audio, and the source of the model.
        """
        return inputs_digest(item, self.model)

    def __call__(self, item: Item) -> Outcome:
        """Process one item.

        Raises:
            CorpusError: for an error that every item has, such as a vocabulary that cannot be read.
        """
        try:
            if item.fault is None:
                inputs = self.inputs(item)  # before the files are read: a later change is noticed by the next run
                return replace(self._do(item), inputs=inputs)
            fault = Fault("manifest", item.fault)
        except CorpusError:
            raise
        except ItemError as error:
            fault = Fault(error.kind, str(error))
        except (ValueError, TypeError, ImportError) as error:
            fault = Fault("failed", str(error))
        except Exception as error:  # noqa: BLE001  # one item must not stop the others
            fault = Fault("failed", f"{type(error).__name__}: {error}")
        return Outcome(item.id, item.line, fault=fault)

    @abstractmethod
    def _do(self, item: Item) -> Outcome: ...

    def _emissions(self, item: Item) -> Tensor:
        return load_emissions(item, self.model, max_array_bytes=self.max_array_bytes)

    def _vocabulary(self) -> Vocabulary | None:
        if self.vocabulary is None:
            return None
        vocabulary = load_vocabulary(self.vocabulary, self.word_separator, fold_case=self.fold_case)
        try:
            blank_of(vocabulary, None, self.blank)
        except ValueError as error:
            raise CorpusError(str(error)) from None
        return vocabulary

    def _vocabulary_for(self, item: Item) -> Vocabulary | None:
        """Return the vocabulary; None if the task has none and the item needs none."""
        if item.tokens is None and item.text is None:
            raise ItemError("text", "it has neither text nor tokens: give one of them")
        vocabulary = self._vocabulary()
        if vocabulary is None and (item.tokens is None or any(isinstance(token, str) for token in item.tokens)):
            raise CorpusError(
                f"{item.id!r} has a {'text' if item.tokens is None else 'token by name'}, but there is no vocabulary: "
                f"name one (--vocab vocab.json), or give tokens as classes, numbers from 0"
            )
        return vocabulary

    def _transcript(self, item: Item, vocabulary: Vocabulary | None, blank: int) -> Transcript | None:
        """Encode the item's text or tokens; None if there is no vocabulary and its tokens are classes."""
        if vocabulary is None:
            return None
        try:
            if item.tokens is not None:
                return vocabulary.encode_tokens(item.tokens)
            transcript = vocabulary.encode(
                item.text or "", blank=blank, unknown=UnknownPolicy.of(self.unknown)._asdict()
            )
            refuse_lost(transcript)
        except ValueError as error:
            raise ItemError("text", str(error)) from error
        return transcript

    def _raise_problems(self, emissions: Tensor, labels: Tensor, blank: int, vocabulary: Vocabulary | None) -> None:
        """Raise an error if emissions and labels have problems.

        The message begins with a wrong number of classes, because that explains the others.
        """
        problems = ctckit.check(emissions, labels, len(emissions), len(labels), blank)
        if problems:
            raise item_error(problems[0].kind, [*class_count_problems(emissions, vocabulary), *problems])


@dataclass(frozen=True, kw_only=True)
class AlignTask(Task):
    """Find where each token and word is, with `ctckit.align`. The result is that of `ctckit.Alignment.to_dict`."""

    frame_duration: float | None = None
    """Seconds per frame, for items without their own."""
    free_start: bool = False
    """Whether the transcript may begin later than the input."""
    free_end: bool = False
    """Whether the transcript may end earlier than the input."""
    confidence: bool = True
    """Whether to compute confidences."""
    wildcard_score: float | None = None
    """Score of a frame in a wildcard, or outside the transcript at a free end, in nats. None for the default of
    `ctckit.align`."""
    formats: tuple[str, ...] = ()
    """Formats of the files to write for each item, some of `ctckit.corpus.FORMATS`."""

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        check_formats(self.formats)
        check_frame_duration(self.frame_duration)
        score = self.wildcard_score
        if score is not None and not math.isfinite(score):
            raise CorpusError(f"wildcard_score is {score}, but must be a finite number of nats")

    def _do(self, item: Item) -> Outcome:
        vocabulary = self._vocabulary_for(item)
        emissions = self._emissions(item)
        duration = self.frame_duration if item.frame_duration is None else item.frame_duration
        check_times(duration, item.offset, len(emissions))
        score: dict[str, Any] = {} if self.wildcard_score is None else {"wildcard_score": self.wildcard_score}
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                alignment = ctckit.align(
                    emissions,
                    (item.text or "") if item.tokens is None else list(item.tokens),
                    vocabulary,
                    blank=self.blank,
                    logits=self.logits,
                    frame_duration=duration,
                    offset=item.offset,
                    unknown=UnknownPolicy.of(self.unknown)._asdict(),
                    confidence=self.confidence,
                    free_start=self.free_start,
                    free_end=self.free_end,
                    **score,
                )
        except ValueError:
            blank = blank_of(vocabulary, emissions.shape[1], self.blank)
            labels = _labels(item, self._transcript(item, vocabulary, blank))
            self._raise_problems(emissions, labels, blank, vocabulary)
            raise
        assert isinstance(alignment, Alignment)  # noqa: S101  # for the type checker: of one item
        warned = tuple(str(entry.message) for entry in caught if entry.category is UserWarning)
        files = files_of(alignment, item, self.formats)
        return Outcome(item.id, item.line, result=alignment.to_dict(), files=files, warnings=warned)


@dataclass(frozen=True)
class LossTask(Task):
    """Measure the CTC loss, in nats.

    The result has loss, frames and labels, and dropped if characters were left out.
    """

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if "wildcard" in UnknownPolicy.of(self.unknown):
            raise CorpusError("unknown is 'wildcard', but a loss has no wildcard: choose 'raise' or 'skip'")

    def _do(self, item: Item) -> Outcome:
        vocabulary = self._vocabulary_for(item)
        emissions = self._emissions(item)
        blank = blank_of(vocabulary, emissions.shape[1], self.blank)
        transcript = self._transcript(item, vocabulary, blank)
        labels = _labels(item, transcript)
        function = ctckit.ctc_loss_with_logits if self.logits else ctckit.ctc_loss
        try:
            loss = float(function(emissions, labels, len(emissions), len(labels), blank, reduction="sum"))
        except ValueError:
            self._raise_problems(emissions, labels, blank, vocabulary)
            raise
        if not math.isfinite(loss):
            self._raise_problems(emissions, labels, blank, vocabulary)
            raise ItemError("infinite", f"its loss is {loss}: classes at -inf bar every path")
        problems = [*implausible(emissions, logits=self.logits), *class_count_problems(emissions, vocabulary)]
        if vocabulary is not None and emissions.shape[1] < vocabulary.classes_needed:
            raise ItemError("classes", problems[-1].message)
        result: dict[str, Any] = {"loss": loss, "frames": len(emissions), "labels": len(labels)}
        if transcript is not None and transcript.dropped:
            result["dropped"] = list(transcript.dropped)
        return Outcome(item.id, item.line, result, warnings=tuple(problem.message for problem in problems))


@dataclass(frozen=True)
class CheckTask(Task):
    """Find problems, with `ctckit.check` and a look at the emissions.

    Further problems are emissions that are not log-probabilities or not of this vocabulary, impossible durations, and
    a text without a character in the vocabulary. The result has frames, classes and labels, and dropped if characters
    were left out.
    """

    def _do(self, item: Item) -> Outcome:
        vocabulary = self._vocabulary_for(item)
        emissions = self._emissions(item)
        frames, classes = emissions.shape
        check_times(item.frame_duration, item.offset, frames)
        blank = blank_of(vocabulary, classes, self.blank)
        transcript = self._transcript(item, vocabulary, blank)
        labels = _labels(item, transcript)
        self._raise_problems(emissions, labels, blank, vocabulary)
        named = None if vocabulary is None else vocabulary.classes_named(classes)
        problems = implausible(emissions, logits=self.logits, blank=blank, classes_named=named)
        if not emissions.any():  # a placeholder, not the output of a model
            problems = [problem for problem in problems if problem.kind not in _NOT_LOG_PROBS]
        if problems:
            raise item_error(problems[0].kind, problems)
        result: dict[str, Any] = {"frames": frames, "classes": classes, "labels": len(labels)}
        if transcript is not None and transcript.dropped:
            result["dropped"] = list(transcript.dropped)
        return Outcome(item.id, item.line, result)


def check_formats(names: Iterable[str]) -> None:
    """Raise an error for a format that does not exist."""
    for name in names:
        if name not in FORMATS:
            raise CorpusError(f"there is no format {name!r}: choose some of {', '.join(FORMATS)}")


def check_frame_duration(duration: float | None) -> None:
    """Raise an error for an impossible duration of a frame."""
    if duration is not None and not (duration > 0 and math.isfinite(duration)):
        raise CorpusError(f"frame_duration is {duration}, but must be a positive number of seconds")


def files_of(alignment: Alignment, item: Item, formats: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the names and contents of an item's files."""
    return tuple(
        (f"{file_stem(item.id)}.{chosen.suffix}", chosen.write(alignment, item.id))
        for chosen in map(named_format, formats)
    )


def class_count_problems(emissions: Tensor, vocabulary: Vocabulary | None) -> list[Problem]:
    """Compare the number of classes with the vocabulary; values are not read."""
    named = None if vocabulary is None else vocabulary.classes_named(emissions.shape[1])
    return implausible(emissions[:0], logits=True, classes_named=named)


def _is_path(value: object) -> bool:
    try:
        return isinstance(value, str) and Path(value).exists()
    except (OSError, ValueError):  # a NUL in the name, or too long a name
        return False


def _labels(item: Item, transcript: Transcript | None) -> Tensor:
    """Return the classes of a transcript without wildcards."""
    return torch.tensor((item.tokens or ()) if transcript is None else transcript.ids, dtype=torch.int64, device="cpu")


def check_times(duration: float | None, offset: float, frames: int) -> None:
    """Raise an error for an impossible duration of an item's frames, or times beyond all numbers."""
    if duration is not None and not (duration > 0 and math.isfinite(duration)):
        raise ItemError("time", f"its frame_duration is {duration}, but must be a positive number of seconds")
    end = offset + (duration or 0.0) * frames
    if not math.isfinite(end):
        raise ItemError(
            "time", f"its end is at {end} s, {frames} frames of {duration} s after {offset} s: these must be finite"
        )


def item_error(kind: str, problems: list[Problem]) -> ItemError:
    """Make the error of an item with problems."""
    return ItemError(kind, "; ".join(problem.message for problem in problems))
