"""Finds the characters of each token in a text, for tokenizers that return no offsets."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TypeAlias

from ctckit.text.transcript import Unit

__all__ = ["Row", "find_in_order", "segment_by_words"]

Row: TypeAlias = list[tuple[str, int]]
"""Tokens and their classes."""

_SPACES = ("▁", "Ġ", "|", "<space>", " ")  # tokens for a space, and marks before a word
_AROUND = ("##", "</w>", "@@")


def segment_by_words(text: str, row_of: Callable[[str], Row], unknown_id: int | None) -> list[Unit]:
    """Segment a text whose words have one space between them, and find the places of its tokens.

    The tokenizer also segments each word alone, and with a space before it. If these tokens in a row are those of the
    whole text, the word of each token is known. If not, tokens are found by the characters that they spell.

    Args:
        text: the text.
        row_of: the tokenizer.
        unknown_id: class of the unknown token.
    """
    whole = row_of(text)
    units: list[Unit] = []
    at = start = 0
    for word in text.split(" "):
        row = row_of(word)
        while at < len(whole) and whole[at][0] in _SPACES and not _starts(whole, at, row):
            at += 1  # the token of the space
        if not _starts(whole, at, row):
            row = row_of(f" {word}")
        if not _starts(whole, at, row):
            break
        for token, number, first, last in _within(word, row, unknown_id):
            units.append(Unit(token, number, first + start, last + start))
        at += len(row)
        start += len(word) + 1
    else:
        if at == len(whole):
            return units
    return _within(text, [item for item in whole if item[0] not in _SPACES[2:]], unknown_id)


def _starts(whole: Row, at: int, row: Row) -> bool:
    return whole[at : at + len(row)] == row


def _within(text: str, row: Row, unknown_id: int | None) -> list[Unit]:
    """Find tokens in a text by the characters that they spell.

    A token that is not found gets the characters between its neighbours.
    """
    folded = _folded(text)
    places: list[tuple[int, int] | None] = []
    at = 0
    for token, _ in row:
        spelt = _folded(token)
        if not folded.startswith(spelt, at):  # first as it is: the text may hold the mark itself
            spelt = _folded(_bare(token))
        found = folded.find(spelt, at)
        is_next = not text[at:found].strip() or (bool(places) and places[-1] is None)
        if found < 0 or not is_next:
            places.append(None)
            continue
        at = found + len(spelt)
        places.append((found, at))
    units: list[Unit] = []
    before = 0
    for index, (token, number) in enumerate(row):
        place = places[index]
        if place is None:
            after = next((other for other in places[index:] if other is not None), None)
            place = (before, len(text) if after is None else after[0])
        before = places[index][1] if places[index] is not None else before  # type: ignore[index]
        units.append(Unit(token, None if number == unknown_id else number, *place))
    return units


def find_in_order(text: str, units: list[Unit]) -> list[Unit] | None:
    """Find tokens in a text by the characters that they spell, whatever lies between them; None if one is missing."""
    folded = _folded(text)
    found: list[Unit] = []
    at = 0
    for unit in units:
        spelt = _folded(_bare(unit.token))
        start = folded.find(spelt, at)
        if start < 0:
            return None
        at = start + len(spelt)
        found.append(unit._replace(start=start, end=at))
    return found


def _folded(text: str) -> str:
    """Return a text without case and accents, one character for each."""
    return "".join(unicodedata.normalize("NFKD", sign)[0].lower() for sign in text)


def _bare(token: str) -> str:
    for mark in (*_SPACES, *_AROUND):
        if len(token) > len(mark):
            token = token.removeprefix(mark).removesuffix(mark)
    return "" if token in _SPACES else token
