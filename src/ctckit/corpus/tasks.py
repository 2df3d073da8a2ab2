"""What to do with one item: align it, measure its loss, or say what is wrong with it.

A task is a few options; called with an item it returns an outcome, and never raises for what is wrong with the item. It
can be pickled, so that any process can do it: what it needs (vocabulary, model) each process loads once, and keeps.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import ctckit
from ctckit.corpus.errors import CorpusError, ItemError
from ctckit.corpus.manifest import Item
from ctckit.corpus.sources import load_emissions, load_object

__all__ = ["FORMATS", "AlignTask", "CheckTask", "Fault", "LossTask", "Outcome", "Task"]

FORMATS = ("json", "ctm", "textgrid", "srt", "vtt")
"""What `AlignTask` can write a file of, per item."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an item could not be done."""

    kind: str
    """'manifest' (its line), 'missing', 'unreadable', 'emissions', 'model', 'text', 'worker' (the process died over
    it), 'failed', or a kind of `ctckit.Problem`."""
    message: str
    """The same in words, and what to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an item: a result or a fault."""

    id: str
    """Its name."""
    line: int
    """Its line in the manifest."""
    result: dict[str, Any] | None = None
    """What the task found; None if there is a fault."""
    fault: Fault | None = None
    """Why there is no result."""
    files: tuple[tuple[str, str], ...] = ()
    """Names and contents of files to write beside it."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Options that all tasks have."""

    vocabulary: str | None = None
    """Path of a vocab.json (a list, or an object from token to class) or of a .txt file with one token per line; or
    ``module:name`` of a list, dict or tokenizer, or of a function that returns one."""
    blank: int = 0
    """Class of the blank."""
    logits: bool = False
    """Whether emissions are logits rather than log-probabilities."""
    model: str | None = None
    """``module:function`` that makes emissions of audio, see `load_emissions`."""
    word_separator: str | None = None
    """Token that stands for the space between words; None to find it, "" for none."""
    fold_case: bool = False
    """Whether a character that the vocabulary lacks may be looked up in the other case."""
    unknown: Literal["raise", "wildcard", "skip"] = "raise"
    """What to do with characters that the vocabulary lacks."""

    def __post_init__(self) -> None:
        if self.unknown not in ("raise", "wildcard", "skip"):
            raise CorpusError(f"unknown is {self.unknown!r}, but must be 'raise', 'wildcard' or 'skip'")
        if self.blank < 0:
            raise CorpusError(f"blank is {self.blank}, but classes are numbered from 0")

    def prepare(self) -> None:
        """Load what all items need.

        Raises:
            CorpusError: if it cannot be loaded.
        """
        if self.vocabulary is not None:
            self._spelling_of(self.vocabulary)
        if self.model is not None:
            load_object(self.model, "model")

    def digest(self) -> str:
        """Return a name for the options, the same as long as they, and the vocabulary's file, are the same."""
        options: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.vocabulary is not None and Path(self.vocabulary).is_file():
            options["vocabulary"] = hashlib.sha256(Path(self.vocabulary).read_bytes()).hexdigest()
        text = json.dumps([type(self).__name__, options], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __call__(self, item: Item) -> Outcome:
        """Do it with one item.

        Raises:
            CorpusError: for what is wrong with every item.
        """
        try:
            if item.fault is None:
                return self._do(item)
            fault = Fault("manifest", item.fault)
        except CorpusError:
            raise
        except ItemError as error:
            fault = Fault(error.kind, str(error))
        except (ValueError, TypeError, ImportError) as error:
            fault = Fault("failed", str(error))
        except Exception as error:  # noqa: BLE001  # whatever one item does, the others are still to be done
            fault = Fault("failed", f"{type(error).__name__}: {error}")
        return Outcome(item.id, item.line, fault=fault)

    @abstractmethod
    def _do(self, item: Item) -> Outcome: ...

    def _emissions(self, item: Item) -> Tensor:
        return load_emissions(item, self.model)

    def _spelling(self, item: Item) -> Any:
        """Return the vocabulary, or None if the item needs none."""
        if self.vocabulary is not None:
            return self._spelling_of(self.vocabulary)
        words = item.tokens if item.tokens is not None else [""]
        if any(isinstance(token, str) for token in words):
            if item.tokens is None and item.text is None:
                raise ItemError("text", "it has neither text nor tokens: one of them says what to look for")
            raise CorpusError(
                f"{item.id!r} has a {'text' if item.tokens is None else 'token by name'}, and there is no vocabulary "
                f"to spell it with: name one (--vocab vocab.json), or give tokens as classes, numbers from 0"
            )
        return None

    def _spelling_of(self, source: str) -> Any:
        return _vocabulary(source, _stamp(source), self.word_separator, fold_case=self.fold_case)

    def _explain(self, emissions: Tensor, labels: Tensor) -> None:
        """Raise what is wrong with emissions and labels, if anything is."""
        problems = ctckit.check(emissions, labels, len(emissions), len(labels), self.blank)
        if problems:
            raise ItemError(problems[0].kind, "; ".join(_of_one_item(problem.message) for problem in problems))

    def _labels(self, item: Item) -> Tensor:
        """Spell the item in classes, for questions that know no wildcard."""
        vocabulary = self._spelling(item)
        if vocabulary is None:
            return torch.tensor(item.tokens or (), dtype=torch.int64)
        try:
            if item.tokens is not None:
                transcript = vocabulary.encode_tokens(item.tokens)
            else:
                transcript = vocabulary.encode(self._text(item), blank=self.blank, unknown=self.unknown)
        except ValueError as error:
            raise ItemError("text", str(error)) from error
        return torch.tensor(transcript.ids, dtype=torch.int64)

    def _text(self, item: Item) -> str:
        if item.text is None:
            raise ItemError("text", "it has neither text nor tokens: one of them says what to look for")
        return item.text


@dataclass(frozen=True, kw_only=True)
class AlignTask(Task):
    """Find where each token and word is: `ctckit.align`. The result is that of `ctckit.Alignment.to_dict`."""

    frame_duration: float | None = None
    """Seconds per frame, for items that do not say."""
    free_start: bool = False
    """Whether the transcript may begin later than the input."""
    free_end: bool = False
    """Whether the transcript may end earlier than the input."""
    confidence: bool = True
    """Whether to compute confidences."""
    formats: tuple[str, ...] = ()
    """Formats to write each alignment in, some of `FORMATS`."""

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        for name in self.formats:
            if name not in FORMATS:
                raise CorpusError(f"there is no format {name!r}: choose some of {', '.join(FORMATS)}")
        duration = self.frame_duration
        if duration is not None and not (duration > 0 and math.isfinite(duration)):
            raise CorpusError(f"frame_duration is {duration}, but must be a positive number of seconds")

    def _do(self, item: Item) -> Outcome:
        vocabulary = self._spelling(item)
        duration = self.frame_duration if item.frame_duration is None else item.frame_duration
        emissions = self._emissions(item)
        try:
            alignment = ctckit.align(
                emissions,
                self._text(item) if item.tokens is None else list(item.tokens),
                vocabulary,
                blank=self.blank,
                logits=self.logits,
                frame_duration=duration,
                offset=item.offset,
                unknown=self.unknown,
                confidence=self.confidence,
                free_start=self.free_start,
                free_end=self.free_end,
            )
        except ValueError:
            self._explain(emissions, self._labels(item))
            raise
        assert isinstance(alignment, ctckit.Alignment)  # noqa: S101  # for the type checker: of one item
        files = tuple(
            (f"{file_stem(item.id)}.{_SUFFIXES[name]}", _written(alignment, name, item)) for name in self.formats
        )
        return Outcome(item.id, item.line, result=alignment.to_dict(), files=files)


@dataclass(frozen=True, kw_only=True)
class LossTask(Task):
    """Measure the CTC loss, in nats. The result has loss, frames and labels."""

    def _do(self, item: Item) -> Outcome:
        labels = self._labels(item)
        emissions = self._emissions(item)
        function = ctckit.ctc_loss_with_logits if self.logits else ctckit.ctc_loss
        try:
            loss = float(function(emissions, labels, len(emissions), len(labels), self.blank, reduction="sum"))
        except ValueError:
            self._explain(emissions, labels)
            raise
        if not math.isfinite(loss):
            self._explain(emissions, labels)
            raise ItemError("infinite", f"its loss is {loss}: classes at -inf bar every path")
        return Outcome(item.id, item.line, {"loss": loss, "frames": len(emissions), "labels": len(labels)})


@dataclass(frozen=True, kw_only=True)
class CheckTask(Task):
    """Look for what is wrong: `ctckit.check`. The result has frames, classes and labels."""

    def _do(self, item: Item) -> Outcome:
        labels = self._labels(item)
        emissions = self._emissions(item)
        self._explain(emissions, labels)
        frames, classes = emissions.shape
        return Outcome(item.id, item.line, {"frames": frames, "classes": classes, "labels": len(labels)})


_SUFFIXES = {"json": "json", "ctm": "ctm", "textgrid": "TextGrid", "srt": "srt", "vtt": "vtt"}


def file_stem(name: str) -> str:
    """Make an item's id the name of a file: whatever no file system minds stays, the rest is written ``%2F``.

    >>> file_stem("speaker 1/a.npy")
    'speaker 1%2Fa.npy'
    """
    stem = urllib.parse.quote(name, safe=" +,=@()[]{}!#&'")
    if stem.startswith("."):
        stem = "%2E" + stem[1:]
    return stem if len(stem) <= 200 else f"{stem[:180]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _written(alignment: Any, name: str, item: Item) -> str:
    if name == "ctm":
        recording = re.sub(r"\s+", "_", item.id) or "audio"
        return str(alignment.to_ctm(recording=recording))
    return str(getattr(alignment, f"to_{name}")())


def _of_one_item(message: str) -> str:
    """Say "the item" where a message about a batch of one says "item 0"."""
    return re.sub(r"\bof item 0\b", "of the item", re.sub(r"^item 0\b", "the item", message)).replace(" in item 0", "")


def _stamp(source: str) -> tuple[str, int, int] | None:
    """Tell one state of a file from another, and from that of the same name in another folder."""
    try:
        state = Path(source).stat()
    except OSError:
        return None
    return os.path.abspath(source), state.st_mtime_ns, state.st_size  # noqa: PTH100  # not resolve(): it is slow


@functools.lru_cache(maxsize=8)
def _vocabulary(source: str, _: tuple[str, int, int] | None, word_separator: str | None, *, fold_case: bool) -> Any:
    try:
        return ctckit.Vocabulary(_vocabulary_source(source), word_separator=word_separator, fold_case=fold_case)
    except CorpusError:
        raise
    except (ValueError, TypeError, OSError) as error:
        raise CorpusError(f"the vocabulary cannot be used: {error}") from error


def _vocabulary_source(source: str) -> Any:
    path = Path(source)
    if ":" in source and not path.exists():
        found = load_object(source, "vocabulary")
        is_function = callable(found) and not any(hasattr(found, name) for name in ("encode", "tokenize"))
        return found() if is_function else found
    if path.suffix.lower() == ".txt":
        return _lines(path)
    return path


def _lines(path: Path) -> Sequence[str]:
    # Not splitlines(), nor strip(): a space, or a rare kind of line end, may be a token.
    return [line.rstrip("\r") for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
