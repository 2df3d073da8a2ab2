"""A spelt text: its tokens, and the words that they belong to."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Chunk", "Piece", "Transcript", "Unit"]


class Piece(NamedTuple):
    """One token of a transcript."""

    text: str
    """Its name in the vocabulary; for a wildcard, the characters that it stands for."""
    id: int | None
    """Its class; None for a wildcard."""
    word: int | None
    """Index of its word, from 0; None for a separator, and for a wildcard of punctuation at either end of a word."""


class Transcript(NamedTuple):
    """A text, or a row of tokens, as a vocabulary spells it."""

    text: str
    """The text as given; of a row of tokens, the text that they spell."""
    pieces: list[Piece]
    """Its tokens, in order."""
    words: list[str]
    """Its words, in order, as the text has them. Words that are left out as a whole are missing."""
    spans: list[tuple[int, int]] = []  # noqa: RUF012  # never changed
    """Start and end of each word in the text; empty for rows of tokens."""
    dropped: tuple[str, ...] = ()
    """Words, and parts of words, that ``unknown="skip"`` left out, as they are written."""

    @property
    def ids(self) -> list[int]:
        """The classes of a transcript without wildcards."""
        return [piece.id for piece in self.pieces if piece.id is not None]

    @property
    def is_lost(self) -> bool:
        """Whether nothing is left of a text that is not empty."""
        return bool(self.dropped) and not self.pieces


class Chunk(NamedTuple):
    """A part of a text that is spelt at once: without wildcards, and without characters that are left out."""

    text: str
    """Its words, with one space for each run of white space."""
    opens: bool
    """Whether it starts at the start of a word."""
    closes: bool
    """Whether it ends at the end of a word."""
    is_first: bool
    """Whether nothing of the text comes before it."""
    cuts: tuple[int, ...]
    """Positions where a word ends and the next one starts without white space."""


class Unit(NamedTuple):
    """A token, or characters without a token, and its place in a chunk."""

    token: str
    """Its name in the vocabulary; the characters, if they have no token."""
    id: int | None
    """Its class; None if there is no token."""
    start: int
    """Where it starts."""
    end: int
    """Where it ends. A mark without characters starts and ends before the character that follows it."""
