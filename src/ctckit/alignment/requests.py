"""Turns the texts or tokens given to `ctckit.align` into one request per item: its transcript and its pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice import PADDING, as_int
from ctckit.lattice.pattern import WILDCARD, Alternatives, Element, Wildcard
from ctckit.text.hints import excerpt
from ctckit.text.unknown import UnknownPolicy
from ctckit.text.vocabulary import Piece, Transcript, Vocabulary, Words

__all__ = ["Request", "Spelling", "refuse_lost", "requests_of", "transcript_of"]


class Spelling(NamedTuple):
    """How to spell transcripts: the options of `ctckit.align`."""

    vocabulary: Vocabulary | None
    blank: int
    unknown: UnknownPolicy
    wildcard: str | None
    words: Words | Sequence[Words | None] | None = None
    """The words of one text; for a batch a function, or the words or None for each item."""


class Request(NamedTuple):
    """One item's transcript, and the pattern to align."""

    transcript: Transcript
    """Its pieces are the tokens of the pattern, including those of every option of alternatives."""
    pattern: list[Element]
    """As for `ctckit.best_paths`."""

    @property
    def is_plain(self) -> bool:
        """Whether the pattern is a row of labels and nothing else."""
        return all(type(element) is int for element in self.pattern)


def requests_of(given: Any, items: int | None, spelling: Spelling) -> list[Request]:
    """Spell the text, or look up the tokens, of each item. `items` is None if there is no batch.

    Raises:
        TypeError: if an item is neither a text nor tokens.
        ValueError: for a wrong number of items; for a text without a vocabulary; for the reasons of
            `Vocabulary.encode`.
    """
    if items is None:
        return [_request(given, spelling)]
    words = spelling.words
    if words is not None and not callable(words) and len(words) != items:
        raise ArgumentValueError(
            f"words holds {len(words)} item{'' if len(words) == 1 else 's'}, but emissions is a batch of {items}: pass "
            f"a list of words per item, or a function"
        )
    if isinstance(given, Tensor) and given.ndim == 2:
        rows: list[Any] = [row[row != PADDING] for row in given]
    elif isinstance(given, (list, tuple)):
        rows = list(given)
    else:
        raise ArgumentTypeError(
            f"text_or_tokens is {_describe(given)}, but emissions is a batch: pass a list with a text, or a row of "
            f"tokens, per item"
        )
    if len(rows) != items:
        raise ArgumentValueError(
            f"text_or_tokens holds {len(rows)} item{'' if len(rows) == 1 else 's'}, but emissions is a batch of {items}"
        )
    requests = []
    for item, row in enumerate(rows):
        try:
            own = words if words is None or callable(words) else words[item]
            requests.append(_request(row, spelling._replace(words=own)))
        except (ArgumentTypeError, ArgumentValueError) as error:  # noqa: PERF203  # must say which item
            raise type(error)(f"item {item}: {error}") from None
    return requests


def _request(given: Any, spelling: Spelling) -> Request:
    vocabulary = spelling.vocabulary
    if isinstance(given, str):
        if vocabulary is None:
            raise ArgumentValueError(
                "text_or_tokens is a text, but vocabulary is None: pass the model's vocabulary, or the classes of the "
                "tokens"
            )
        transcript = vocabulary.encode(
            given,
            blank=spelling.blank,
            unknown=spelling.unknown,
            wildcard=spelling.wildcard,
            words=spelling.words,  # type: ignore[arg-type]  # those of one item
        )
        refuse_lost(transcript)
        return Request(transcript, [_element(piece) for piece in transcript.pieces])
    if spelling.words is not None and not callable(spelling.words):
        raise ArgumentValueError("words is given, but text_or_tokens is a row of tokens: words are those of a text")
    row = _row(given)
    pieces: list[Piece] = []
    pattern: list[Element] = []
    for position, token in enumerate(row):
        if isinstance(token, Alternatives):
            pieces += [_piece(option, position, spelling) for options in token.options for option in options]
            pattern.append(token)
        else:
            pieces.append(_piece(token, position, spelling))
            pattern.append(_element(pieces[-1]))
    return Request(transcript_of(pieces, vocabulary), pattern)


def refuse_lost(transcript: Transcript) -> None:
    """Refuse a text that is not empty, but of which nothing is left.

    Raises:
        ArgumentValueError: for such a text.
    """
    if transcript.is_lost:
        shown = ", ".join(map(repr, transcript.dropped[:5])) + (", ..." if len(transcript.dropped) > 5 else "")
        raise ArgumentValueError(
            f"nothing is left of the text {excerpt(transcript.text, 0, 40)}: {shown} had to be left out, since the "
            f"vocabulary has none of it: check that it is the model's vocabulary, and that the text is in its case (or "
            f"pass fold_case=True)"
        )


def transcript_of(pieces: list[Piece], vocabulary: Vocabulary | None) -> Transcript:
    """Find the words of a row of tokens."""
    if vocabulary is not None:
        return vocabulary.in_words(pieces)
    return Transcript(" ".join(piece.text for piece in pieces), pieces, [])


def _row(given: Any) -> Sequence[Any]:
    if isinstance(given, Tensor):
        if given.ndim != 1 or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            raise ArgumentTypeError(
                f"text_or_tokens is {_describe(given)}, but tokens of one item must be integers (S,)"
            )
        return list(given.tolist())
    if isinstance(given, np.ndarray):
        return _row(torch.as_tensor(given, device="cpu"))
    if isinstance(given, (list, tuple)):
        return given
    raise ArgumentTypeError(
        f"text_or_tokens is {_describe(given)}, but must be a str, a list of tokens, or an integer tensor (S,)"
    )


def _piece(token: Any, position: int, spelling: Spelling) -> Piece:
    vocabulary = spelling.vocabulary
    if isinstance(token, Wildcard) or (isinstance(token, str) and token == spelling.wildcard):
        return Piece(spelling.wildcard or "*", None, None)
    if isinstance(token, str):
        if vocabulary is None:
            raise ArgumentValueError(
                f"token {position} is {token!r}, a name, but vocabulary is None: pass it, or the classes of the tokens"
            )
        return Piece(token, vocabulary.id_of(token, f"token {position}"), None)
    number = as_int(token, f"token {position}")
    return Piece(str(number) if vocabulary is None else vocabulary.name(number), number, None)


def _element(piece: Piece) -> Element:
    return WILDCARD if piece.id is None else piece.id


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"a {type(value).__name__}"
