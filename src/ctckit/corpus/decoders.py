"""The decoder of a task: vocabulary, language model, lexicon and hotwords, loaded once per process."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from torch import Tensor

from ctckit.corpus.digests import size_and_date
from ctckit.corpus.errors import CorpusError
from ctckit.corpus.hotword_files import read_hotwords
from ctckit.decoding.decoder import Decoder
from ctckit.decoding.hypothesis import Decoding
from ctckit.decoding.ngram import NGram
from ctckit.text.vocabulary import Vocabulary

__all__ = ["CorpusDecoder", "HotwordSource", "Knowledge", "decoder_for", "hotwords_of", "load_lm"]

_KEPT: Final = 8  # decoders with other options: each has a table of all spellings

HotwordSource = str | tuple[tuple[str, float], ...]
"""The path of a file, see `read_hotwords`; or phrases with their weights."""


class Knowledge(NamedTuple):
    """What a decoder knows beside the emissions: options of `ctckit.Decoder`, with files as paths."""

    lm: str | None
    lm_unit: str
    unknown_score: float
    lexicon: str | None
    open_lexicon: bool
    hotwords: HotwordSource | None
    hotword_weight: float

    @property
    def files(self) -> dict[str, str]:
        """The paths, by what the files are."""
        named = {"the language model": self.lm, "the lexicon": self.lexicon}
        named["the hotwords"] = self.hotwords if isinstance(self.hotwords, str) else None
        return {what: path for what, path in named.items() if path is not None}


class CorpusDecoder:
    """A decoder that has been made from the files of a task.

    Args:
        decoder: the decoder.
        said: what was said while it was made; what is said later is added.
    """

    def __init__(self, decoder: Decoder, said: list[str]) -> None:
        self._decoder, self._said = decoder, said
        self._prepared: set[int] = set()
        self._changed: dict[tuple[tuple[str, Any], ...], CorpusDecoder] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said once about a run: of words that cannot be spelt, say."""
        return tuple(dict.fromkeys(self._said))

    def changed(self, **options: Any) -> CorpusDecoder:
        """Return the same decoder with other options: those of `ctckit.Decoder.replace`. The last ones are kept."""
        key = tuple(options.items())
        if key not in self._changed:
            with _errors_of_files():
                made = CorpusDecoder(self._decoder.replace(**options), self._said)
            self._changed = dict([*self._changed.items(), (key, made)][-_KEPT:])
        return self._changed[key]

    def __call__(self, emissions: Tensor) -> Decoding:
        """Decode an item.

        Raises:
            CorpusError: for words and phrases that cannot be spelt.
            ArgumentValueError: as the decoder, for its emissions.
        """
        classes = emissions.shape[1]
        if classes not in self._prepared:
            self._decoder.vocabulary.require_classes(classes, "log_probs")
            with _errors_of_files(), _heard(self._said):
                self._decoder.prepare(classes)
            self._prepared.add(classes)
        decoding: Any = self._decoder(emissions)
        assert isinstance(decoding, Decoding)  # noqa: S101  # for the type checker: of one item
        return decoding


def decoder_for(vocabulary: Vocabulary, knowledge: Knowledge, options: Mapping[str, Any]) -> CorpusDecoder:
    """Return a decoder, the same for the same vocabulary and options as long as no file changes.

    Args:
        vocabulary: the vocabulary.
        knowledge: what the decoder knows.
        options: further options of `ctckit.Decoder`.

    Raises:
        CorpusError: if a file cannot be used.
    """
    states = tuple((os.path.abspath(path), _state(what, path)) for what, path in knowledge.files.items())  # noqa: PTH100
    return _decoder(vocabulary, knowledge, states, tuple(options.items()))


@functools.lru_cache(maxsize=4)
def _decoder(
    vocabulary: Vocabulary, knowledge: Knowledge, _states: object, options: tuple[tuple[str, Any], ...]
) -> CorpusDecoder:
    found = knowledge._asdict()
    found["lm"] = None if knowledge.lm is None else load_lm(knowledge.lm)
    found["hotwords"] = hotwords_of(knowledge.hotwords, knowledge.hotword_weight)
    said: list[str] = []
    with _errors_of_files(), _heard(said):
        decoder = Decoder(vocabulary, **found, **dict(options))
    return CorpusDecoder(decoder, said)


def load_lm(path: str) -> NGram:
    """Read a language model. The same path gives the same object as long as the file does not change.

    Raises:
        CorpusError: if it cannot be read.
    """
    return _lm(path, os.path.abspath(path), _state("the language model", path))  # noqa: PTH100


@functools.lru_cache(maxsize=2)
def _lm(path: str, _path: str, _size_and_date: tuple[int, int]) -> NGram:
    with _errors_of_files():
        return NGram(path)


def hotwords_of(source: HotwordSource | None, weight: float) -> dict[str, float] | None:
    """Return phrases and their weights; None for none.

    Raises:
        CorpusError: as `read_hotwords`.
    """
    return read_hotwords(source, weight) if isinstance(source, str) else dict(source) if source else None


def _state(what: str, path: str) -> tuple[int, int]:
    """Return size and date of a file."""
    state = size_and_date(path)
    if state is None:
        if os.path.exists(path):  # noqa: PTH110  # False for an invalid path, too
            raise CorpusError(f"{what}: {path!r} is not a file; it is read more than once, so a pipe will not do")
        raise CorpusError(f"{what}: there is no file {path!r}")
    return state


@contextmanager
def _errors_of_files() -> Iterator[None]:
    try:
        yield
    except CorpusError:
        raise
    except (ValueError, TypeError, OSError) as error:
        raise CorpusError(str(error)) from error


@contextmanager
def _heard(said: list[str]) -> Iterator[None]:
    """Collect warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said += [str(entry.message) for entry in caught if entry.category is UserWarning]
