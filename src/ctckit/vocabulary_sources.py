"""What a vocabulary may be read from: lists, dicts, JSON files, and the tokenizers of other libraries.

Tokenizers are known by their methods, so that none of the libraries needs to be installed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ctckit.lattice import as_int

__all__ = ["Source", "read_source"]

Tokenize: TypeAlias = Callable[[str], list[tuple[str, int]]]
"""Text to tokens and their classes."""


class Source(NamedTuple):
    """What there is to know of a vocabulary."""

    ids: dict[str, int]
    """The class of each token; empty if a tokenizer does not tell."""
    tokenize: Tokenize | None = None
    """How the text is segmented, if the source knows better than to take the longest token."""
    unknown_id: int | None = None
    """The class that `tokenize` gives to what it does not know."""
    padding_id: int | None = None
    """The class that a tokenizer pads with: for models of CTC, the blank."""


def read_source(source: Any) -> Source:
    """Read a vocabulary in any form. `ctckit.Vocabulary` says in which."""
    if isinstance(source, (str, os.PathLike)):
        return Source(_ids_of_file(Path(source)))
    if isinstance(source, (Mapping, Sequence)):
        return Source(_ids_of(source))
    tokenizer = getattr(source, "tokenizer", source)  # of a processor
    if hasattr(tokenizer, "encode_as_pieces") and hasattr(tokenizer, "piece_to_id"):
        return _sentencepiece(tokenizer)
    if hasattr(tokenizer, "tokenize") and hasattr(tokenizer, "convert_tokens_to_ids"):
        return _transformers(tokenizer)
    if hasattr(tokenizer, "encode"):
        return _encoder(tokenizer)
    raise TypeError(
        f"vocabulary is a {type(source).__name__}, but must be a list of tokens, a dict from token to class, the path "
        f"of a vocab.json, or a tokenizer, with encode(), or tokenize() and convert_tokens_to_ids()"
    )


def _ids_of_file(path: Path) -> dict[str, int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"vocabulary is {str(path)!r}, but there is no such file (for a row of characters pass a list)"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"vocabulary is {str(path)!r}, which is not a JSON file: {error}") from error
    if isinstance(content, (dict, list)):
        return _ids_of(content)
    raise ValueError(
        f"vocabulary is {str(path)!r}, which holds a {type(content).__name__}, but must hold a list of tokens, or an "
        f"object from token to class"
    )


def _ids_of(source: Mapping[Any, Any] | Sequence[Any]) -> dict[str, int]:
    ids: dict[str, int] = {}
    owners: dict[int, str] = {}
    if isinstance(source, Mapping):
        pairs = list(source.items())
    else:
        pairs = [(token, number) for number, token in enumerate(source) if token not in (None, "")]
    for token, value in pairs:
        if not isinstance(token, str):
            raise TypeError(f"vocabulary holds {token!r}, a {type(token).__name__}, but tokens must be str")
        if isinstance(value, Mapping):
            raise TypeError(
                f"vocabulary[{token!r}] is a dict: this looks like one vocabulary per language; pass that of one"
            )
        number = as_int(value, f"vocabulary[{token!r}]")
        if number < 0:
            raise ValueError(f"vocabulary[{token!r}] is {number}, but classes are numbered from 0")
        if token in ids:
            raise ValueError(f"vocabulary has {token!r} twice, as classes {ids[token]} and {number}")
        if number in owners:
            raise ValueError(f"vocabulary has {owners[number]!r} and {token!r} as one class, {number}")
        ids[token], owners[number] = number, token
    if not ids:
        raise ValueError("vocabulary is empty")
    return ids


def _sentencepiece(processor: Any) -> Source:
    """Read a ``sentencepiece.SentencePieceProcessor``."""
    ids = {processor.id_to_piece(number): number for number in range(processor.get_piece_size())}
    return Source(
        ids,
        lambda text: [(piece, processor.piece_to_id(piece)) for piece in processor.encode_as_pieces(text)],
        processor.unk_id(),
    )


def _transformers(tokenizer: Any) -> Source:
    """Read a ``transformers.PreTrainedTokenizer``, or its fast kind."""
    ids = dict(tokenizer.get_vocab()) if hasattr(tokenizer, "get_vocab") else {}

    def tokenize(text: str) -> list[tuple[str, int]]:
        tokens = list(tokenizer.tokenize(text))
        return list(zip(tokens, tokenizer.convert_tokens_to_ids(tokens), strict=True))

    return Source(ids, tokenize, getattr(tokenizer, "unk_token_id", None), getattr(tokenizer, "pad_token_id", None))


def _encoder(tokenizer: Any) -> Source:
    """Read a ``tokenizers.Tokenizer``, or whatever has an ``encode`` that gives classes, and perhaps a ``decode``."""
    ids = dict(tokenizer.get_vocab()) if hasattr(tokenizer, "get_vocab") else {}
    unknown_id = ids.get(getattr(getattr(tokenizer, "model", None), "unk_token", None) or "")
    names = {number: token for token, number in ids.items()}

    def name(number: int) -> str:
        if number not in names and hasattr(tokenizer, "decode"):
            names[number] = str(tokenizer.decode([number]))
        return str(names.get(number, f"<{number}>"))

    def tokenize(text: str) -> list[tuple[str, int]]:
        if not hasattr(tokenizer, "token_to_id"):
            return [(name(int(number)), int(number)) for number in tokenizer.encode(text)]
        encoding = tokenizer.encode(text, add_special_tokens=False)
        rows = zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True)
        return [(text[slice(*at)] if n == unknown_id else token, n) for token, n, at in rows]

    return Source(ids, tokenize, unknown_id)
