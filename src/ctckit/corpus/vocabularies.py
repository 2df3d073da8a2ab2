"""The vocabulary of a task, loaded once per process."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from ctckit.corpus.digests import size_and_date
from ctckit.corpus.errors import CorpusError
from ctckit.corpus.objects import load_object
from ctckit.text.vocabulary import Vocabulary

__all__ = ["is_object", "load_vocabulary"]


def is_object(source: str) -> bool:
    """Return whether a vocabulary is given as ``module:name`` rather than as the path of a file."""
    return ":" in source and not os.path.exists(source)  # noqa: PTH110  # False for an invalid path, too


def load_vocabulary(source: str, word_separator: str | None, *, fold_case: bool) -> Vocabulary:
    """Load a vocabulary. The same options give the same object as long as the file does not change.

    Args:
        source: the path of a file, or ``module:name`` of an argument of `ctckit.Vocabulary`, or of a function that
            returns one.
        word_separator: as for `ctckit.Vocabulary`.
        fold_case: as for `ctckit.Vocabulary`.

    Raises:
        CorpusError: if it cannot be read.
    """
    return _loaded(source, os.path.abspath(source), size_and_date(source), word_separator, fold_case)  # noqa: PTH100


@functools.lru_cache(maxsize=8)
def _loaded(
    source: str, _path: str, _state: tuple[int, int] | None, word_separator: str | None, fold_case: bool
) -> Vocabulary:
    try:
        return Vocabulary(_source(source), word_separator=word_separator, fold_case=fold_case)
    except CorpusError:
        raise
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise CorpusError(f"the vocabulary cannot be used: {error}") from error


def _source(source: str) -> object:
    if not is_object(source):
        path = Path(source)
        if path.exists() and not path.is_file() and not path.is_dir():
            raise CorpusError(
                f"the vocabulary {source!r} is not a file, but a pipe or a device: it is read more than once, so "
                f"save it to a file"
            )
        return path
    found = load_object(source, "vocabulary")
    if callable(found) and not any(hasattr(found, name) for name in ("encode", "tokenize")):
        try:
            return found()
        except (Exception, SystemExit) as error:
            raise CorpusError(f"the vocabulary {source!r} failed: {type(error).__name__}: {error}") from error
    return found
