"""The fast path: a vocabulary of single characters, and a text of these characters and white space.

Most CTC models have such a vocabulary, and most texts consist of its letters and white space. Then each character is a
token. `ctckit.text.encode` returns the same result in more steps.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ctckit.text.transcript import Piece, Transcript

__all__ = ["SingleCharacters"]


class SingleCharacters:
    """The tokens of a vocabulary of single characters.

    Args:
        ids: the class of each token.
        special: tokens that are no text.
        separator: the token for the space; None if there is none.

    >>> letters = SingleCharacters({"<pad>": 0, "|": 1, "a": 2, "b": 3}, {"<pad>"}, "|")
    >>> letters.spell("ab  a", 0).ids
    [2, 3, 1, 2]
    >>> letters.spell("abc", 0) is None
    True
    """

    def __init__(self, ids: Mapping[str, int], special: Collection[str], separator: str | None) -> None:
        text_tokens = {token: number for token, number in ids.items() if token not in special}
        # "<" and "[" may start the name of a special token, also of one that the vocabulary lacks.
        self._ids = {token: number for token, number in text_tokens.items() if token not in ("<", "[", separator)}
        spelt = any(name and all(sign in self._ids for sign in name) for name in special)
        self._apply = not spelt and all(len(token) <= 1 for token in text_tokens)
        self._space = None if separator is None else Piece(separator, ids[separator], None)
        self._word = re.compile(r"[^\s]+" if separator is None else rf"[^\s{re.escape(separator)}]+")

    def spell(self, text: str, blank: int | None) -> Transcript | None:
        """Spell a text of the vocabulary's letters and white space; None for any other text."""
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
