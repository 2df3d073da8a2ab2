"""Reads a vocabulary from a list, a dict, a file, or a tokenizer of another library."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import as_int
from ctckit.text.special_tokens import is_special_name
from ctckit.text.tokenizers import Tokenizer, read_tokenizer
from ctckit.text.vocabulary_files import content_of

__all__ = ["Source", "read_source"]


class Source(NamedTuple):
    """The contents of a vocabulary."""

    ids: dict[str, int]
    """The class of each token; empty if a tokenizer does not list them."""
    size: int
    """Number of classes, including those without text."""
    special: frozenset[str]
    """Special tokens, which are no text: by their names, or as a tokenizer lists them."""
    tokenizer: Tokenizer | None = None
    """The tokenizer that segments texts; None if the longest tokens are taken."""


def read_source(source: Any) -> Source:
    """Read a vocabulary in any of the forms that `ctckit.Vocabulary` lists."""
    if isinstance(source, (str, os.PathLike)):
        return _source_of(content_of(Path(source)))
    if isinstance(source, (Mapping, Sequence)):
        return _source_of(source)
    tokenizer = read_tokenizer(source)
    if tokenizer is None:
        raise ArgumentTypeError(
            f"vocabulary is a {type(source).__name__}, but must be a list of tokens, a dict from token to class, the "
            f"path of a vocab.json or tokens.txt, or a tokenizer, with encode(), or tokenize() and "
            f"convert_tokens_to_ids()"
        )
    ids = tokenizer.ids
    special = frozenset(filter(is_special_name, ids)) | tokenizer.special
    return Source(ids, _size(ids), special, tokenizer)


def _source_of(source: Mapping[Any, Any] | Sequence[Any]) -> Source:
    ids = _ids_of(source)
    size = _size(ids) if isinstance(source, Mapping) else len(source)
    return Source(ids, size, frozenset(filter(is_special_name, ids)))


def _size(ids: Mapping[str, int]) -> int:
    return max(ids.values(), default=-1) + 1


def _ids_of(source: Mapping[Any, Any] | Sequence[Any]) -> dict[str, int]:
    ids: dict[str, int] = {}
    owners: dict[int, str] = {}
    if isinstance(source, Mapping):
        pairs = list(source.items())
    else:
        pairs = [(token, number) for number, token in enumerate(source) if token not in (None, "")]
    for token, value in pairs:
        if not isinstance(token, str):
            raise ArgumentTypeError(f"vocabulary holds {token!r}, a {type(token).__name__}, but tokens must be str")
        if isinstance(value, Mapping):
            raise ArgumentTypeError(
                f"vocabulary[{token!r}] is a dict: this looks like one vocabulary per language; pass that of one"
            )
        number = as_int(value, f"vocabulary[{token!r}]")
        if number < 0:
            raise ArgumentValueError(f"vocabulary[{token!r}] is {number}, but classes are numbered from 0")
        if token in ids:
            raise ArgumentValueError(f"vocabulary has {token!r} twice, as classes {ids[token]} and {number}")
        if number in owners:
            raise ArgumentValueError(f"vocabulary has {owners[number]!r} and {token!r} as one class, {number}")
        ids[token], owners[number] = number, token
    if not ids:
        raise ArgumentValueError("vocabulary is empty")
    return ids
