"""From classes to text: what the tokens of a hypothesis spell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ctckit.text.special_tokens import is_byte_name
from ctckit.text.vocabulary import Piece, Vocabulary

__all__ = ["Spelling"]

_UNKNOWN: Final = re.compile(r"[<\[](unk|unknown|oov)[>\]]", re.IGNORECASE)
_UNKNOWN_SIGN: Final = "\N{DOUBLE QUESTION MARK}"  # as SentencePiece writes it


class Spelling:
    """Spells rows of classes. Special tokens are no text, but an unknown token is "⁇".

    Args:
        vocabulary: the vocabulary.

    Example:
        >>> Spelling(Vocabulary(["-", "|", "a", "b"])).text_and_words([1, 2, 3, 1, 1, 2])
        ('ab a', ('ab', 'a'))
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._pieces: dict[int, Piece | None] = {}

    def text_and_words(self, tokens: Sequence[int]) -> tuple[str, tuple[str, ...]]:
        """Return the text of a row of classes, and its words; no words if the vocabulary does not show them."""
        pieces = [piece for token in tokens if (piece := self._piece(token)) is not None]
        transcript = self._vocabulary.in_words(pieces)
        if transcript.words or self._vocabulary.shows_words:
            words = tuple(word for word in transcript.words if word)  # a mark alone spells nothing
            return " ".join(words), words
        return "".join(piece.text for piece in pieces), ()

    def _piece(self, token: int) -> Piece | None:
        """Return the token of a class; None if it is no text."""
        if token not in self._pieces:
            name = self._vocabulary.name(token)
            piece: Piece | None = Piece(name, token, None)
            if self._vocabulary.is_special(name) and not is_byte_name(name):
                piece = Piece(_UNKNOWN_SIGN, token, None) if _UNKNOWN.fullmatch(name) else None
            self._pieces[token] = piece
        return self._pieces[token]
