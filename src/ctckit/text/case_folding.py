"""Upper and lower case, letter by letter. A letter stays as it is if its other case is another number of characters.

`str.casefold` does not fit: it turns "ß" into "ss", and "İ" into two characters.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["CaseFolding"]


class CaseFolding:
    """The cases of a vocabulary's letters.

    If the vocabulary has a dotless "ı" or a dotted "İ", as for Turkish, "I" is the capital of "ı", and "İ" that of "i".

    >>> folding = CaseFolding(["a"])
    >>> folding.lower("ΟΔΟΣ"), folding.lower("İß"), folding.upper("ß")
    ('οδος', 'İß', 'ß')
    >>> CaseFolding(["ı", "i"]).lower("İI")
    'iı'
    """

    def __init__(self, tokens: Collection[str]) -> None:
        dotless = any("\u0131" in token or "İ" in token for token in tokens)
        self._lower = {ord("I"): "\u0131", ord("İ"): "i"} if dotless else {}
        self._upper = {ord("i"): "İ"} if dotless else {}

    def lower(self, word: str) -> str:
        """Return a word in lower case. A capital sigma at its end becomes the final sigma."""
        word = word.translate(self._lower)
        whole = word.lower()
        return whole if len(whole) == len(word) else "".join(map(_lower, word))

    def upper(self, word: str) -> str:
        """Return a word in upper case."""
        return "".join(map(_upper, word.translate(self._upper)))

    def key(self, word: str) -> str:
        """Return a key that words share if they differ in case only."""
        return "".join(map(_lower, word.translate(self._lower))).replace("\u03c2", "\u03c3")  # the final sigma


def _lower(letter: str) -> str:
    other = letter.lower()
    return other if len(other) == 1 else letter


def _upper(letter: str) -> str:
    other = letter.upper()
    return other if len(other) == 1 else letter
