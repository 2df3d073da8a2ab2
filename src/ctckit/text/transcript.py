"""What a spelt text consists of: its tokens, and the words that they belong to."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Chunk", "Piece", "Transcript", "Unit"]


class Piece(NamedTuple):
    """One token of a transcript."""

    text: str
    """The vocabulary's name of it; for a wildcard, the characters it stands for."""
    id: int | None
    """Its class; None for a wildcard."""
    word: int | None
    """Which word it is part of, from 0; None for a separator, and for a wildcard of punctuation at a word's edge."""


class Transcript(NamedTuple):
    """A text, or a row of tokens, as a vocabulary spells it."""

    text: str
    """As it was given; of tokens, what they spell."""
    pieces: list[Piece]
    """Its tokens, in order."""
    words: list[str]
    """Its words, in order, as they are in the text; without those of which nothing is left."""
    spans: list[tuple[int, int]] = []  # noqa: RUF012  # never changed
    """Of each word, where in the text it starts and ends; empty for rows of tokens."""
    dropped: tuple[str, ...] = ()
    """Words, and parts of words, that are left out (``unknown="skip"``), as they are written."""

    @property
    def ids(self) -> list[int]:
        """The classes of a transcript without wildcards."""
        return [piece.id for piece in self.pieces if piece.id is not None]

    @property
    def is_lost(self) -> bool:
        """Whether nothing is left of a text that is not empty."""
        return bool(self.dropped) and not self.pieces


class Chunk(NamedTuple):
    """A piece of a text, without wildcards and without what is left out: what is spelt at one go."""

    text: str
    """Its words, with one space where there is white space between them."""
    opens: bool
    """Whether it starts where a word does."""
    closes: bool
    """Whether it ends where a word does."""
    is_first: bool
    """Whether nothing of the text is before it."""
    cuts: tuple[int, ...]
    """Where one word ends and the next starts without white space."""


class Unit(NamedTuple):
    """A token, or what there is none for, and its place in a chunk."""

    token: str
    """Its name in the vocabulary."""
    id: int | None
    """Its class; None if there is no token."""
    start: int
    """Where it starts."""
    end: int
    """Where it ends. A mark that stands for no character starts and ends before the character that follows."""
