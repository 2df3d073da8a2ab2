"""Hotwords: phrases that are expected in a signal, each with a weight in nats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ctckit.backends import require_core
from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.reference.decoding import LARGEST
from ctckit.text.vocabulary import REMEDY, Vocabulary
from ctckit.text.word_roles import word_roles

if TYPE_CHECKING:
    from ctckit import _core

__all__ = ["Hotwords", "checked_hotwords", "phrase_scorer"]

Hotwords: TypeAlias = "Mapping[str, float] | Iterable[str]"
"""Phrases with their weights, or phrases that all have the same weight."""

_SPELLINGS: Final = 8  # most ways to spell a phrase in pieces that are taken
_BOUNDARY: Final = 0  # `PhraseScorer::kBoundary`; class c is c + 1


def checked_hotwords(hotwords: Any, weight: Any) -> dict[str, float]:
    """Check phrases, and return them with their weights. White space within a phrase becomes one space.

    Raises:
        ArgumentTypeError: for other types.
        ArgumentValueError: for an empty phrase; for a weight that is not finite, or is 75 nats or more.
    """
    if isinstance(hotwords, (str, bytes)) or not isinstance(hotwords, Iterable):
        raise ArgumentTypeError(
            f"hotwords is {hotwords!r}, a {type(hotwords).__name__}, but must be a list of phrases, or a dict from "
            f"phrases to weights"
        )
    found: dict[str, float] = {}
    items = hotwords.items() if isinstance(hotwords, Mapping) else [(phrase, weight) for phrase in hotwords]
    for phrase, nats in items:
        if not isinstance(phrase, str):
            raise ArgumentTypeError(
                f"hotwords has {phrase!r}, a {type(phrase).__name__}, but must have phrases, each a str"
            )
        if not phrase.strip():
            raise ArgumentValueError(f"hotwords has {phrase!r}, but a phrase must have words")
        name = "hotword_weight" if not isinstance(hotwords, Mapping) else f"hotwords[{phrase!r}]"
        found[" ".join(phrase.split())] = _weight(nats, name)
    return found


def _weight(nats: Any, name: str) -> float:
    if isinstance(nats, bool) or not isinstance(nats, (int, float, np.floating, np.integer)):
        raise ArgumentTypeError(f"{name} is {nats!r}, a {type(nats).__name__}, but must be a number, in nats")
    if not (math.isfinite(nats) and abs(nats) < LARGEST):
        raise ArgumentValueError(f"{name} is {nats}, but a weight must be between -{LARGEST:g} and {LARGEST:g} nats")
    return float(nats)


def phrase_scorer(phrases: Mapping[str, float], vocabulary: Vocabulary, blank: int) -> _core.PhraseScorer:
    """Make the scorer of phrases.

    Raises:
        ArgumentValueError: for a phrase that the vocabulary does not spell, with the place; for phrases that may end
            together, and then gain 75 nats or more.
    """
    roles = word_roles(vocabulary)
    bound = bool(roles.any())  # phrases are bound to words
    rows: dict[tuple[int, ...], float] = {}
    for phrase, nats in phrases.items():
        for row in _bound_rows(phrase, vocabulary, blank) if bound else [_row(phrase, vocabulary, blank)]:
            rows[row] = nats
    symbols = np.fromiter((symbol for row in rows for symbol in row), dtype=np.int32)
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    require_core("hotwords")
    from ctckit import _core  # noqa: PLC0415  # it may be missing

    scorer = _core.PhraseScorer(symbols, lengths, list(rows.values()), roles)
    # Other classes gain what one of their role does.
    classes = {symbol - 1 for row in rows for symbol in row if symbol != _BOUNDARY}
    classes.update(np.unique(roles, return_index=True)[1].tolist())
    most = max(map(scorer.largest_gain, classes))
    if most >= LARGEST:
        raise ArgumentValueError(
            f"hotwords has phrases that may end together and gain {most:.4g} nats, but one step may gain less than "
            f"{LARGEST:g}: lower their weights"
        )
    return scorer


def _bound_rows(phrase: str, vocabulary: Vocabulary, blank: int) -> list[tuple[int, ...]]:
    """Return the spellings of a phrase of words, with boundaries."""
    rows: list[tuple[int, ...]] = [(_BOUNDARY,)]
    for word in phrase.split():
        spellings = vocabulary.word_spellings(word, blank=blank, most=_SPELLINGS)
        if not spellings:
            _explain(phrase, vocabulary, blank)
            raise ArgumentValueError(f"hotwords has {phrase!r}, but the vocabulary does not spell {word!r} as one word")
        more = [(*row, *(c + 1 for c in spelling), _BOUNDARY) for row in rows for spelling in spellings]
        rows = sorted(more, key=len)[:_SPELLINGS]
    return rows


def _row(phrase: str, vocabulary: Vocabulary, blank: int) -> tuple[int, ...]:
    """Return a phrase as a vocabulary that does not show words spells it."""
    ids = _explain(phrase, vocabulary, blank)
    if not ids:
        raise ArgumentValueError(f"hotwords has {phrase!r}, of which the vocabulary spells nothing")
    return tuple(c + 1 for c in ids)


def _explain(phrase: str, vocabulary: Vocabulary, blank: int) -> list[int]:
    """Spell a phrase as any text. The error for a character that no token has says where it is."""
    try:
        return vocabulary.encode(phrase, blank=blank).ids
    except ArgumentValueError as problem:
        why = str(problem).removesuffix(f": {REMEDY}")
        raise ArgumentValueError(f"hotwords has {phrase!r}: {why}: correct the phrase, or leave it out") from None
