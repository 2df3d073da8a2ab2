"""The short way to spell: a vocabulary of single characters, and a text that has no others.

Most models for CTC have such a vocabulary, and most texts are of its letters and white space. Then each character is a
token, and nothing of `ctckit.text.encode`, which gives the same, is needed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ctckit.text.transcript import Piece, Transcript

__all__ = ["SingleCharacters"]


class SingleCharacters:
    """The letters of a vocabulary without marks of words.

    Args:
        ids: the class of each token.
        special: tokens that are no text.
        separator: the token that stands for the space; None if there is none.

    >>> letters = SingleCharacters({"<pad>": 0, "|": 1, "a": 2, "b": 3}, {"<pad>"}, "|")
    >>> letters.spell("ab  a", 0).ids
    [2, 3, 1, 2]
    >>> letters.spell("abc", 0) is None
    True
    """

    def __init__(self, ids: Mapping[str, int], special: Collection[str], separator: str | None) -> None:
        text_tokens = {token: number for token, number in ids.items() if token not in special}
        # With "<" and "[" names of special tokens begin, also of such as the vocabulary does not have.
        self._ids = {token: number for token, number in text_tokens.items() if token not in ("<", "[", separator)}
        spelt = any(name and all(sign in self._ids for sign in name) for name in special)
        self._apply = not spelt and all(len(token) <= 1 for token in text_tokens)
        self._space = None if separator is None else Piece(separator, ids[separator], None)
        self._word = re.compile(r"[^\s]+" if separator is None else rf"[^\s{re.escape(separator)}]+")

    def spell(self, text: str, blank: int | None) -> Transcript | None:
        """Spell a text whose characters all are letters or white space; None for any other."""
        if not self._apply:
            return None
        ids = self._ids
        pieces: list[Piece] = []
        words: list[str] = []
        spans: list[tuple[int, int]] = []
        for match in self._word.finditer(text):
            word = match[0]
            if words and self._space is not None:
                pieces.append(self._space)
            for letter in word:
                number = ids.get(letter)
                if number is None or number == blank:
                    return None
                pieces.append(Piece(letter, number, len(words)))
            words.append(word)
            spans.append(match.span())
        return Transcript(text, pieces, words, spans)
