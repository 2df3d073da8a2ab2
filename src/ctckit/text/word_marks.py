"""Marks in tokens that show where words start and end.

The tokens of a vocabulary show which kind of mark it has:

===================  ==================================================  ===============================
tokens               the mark stands                                     examples
===================  ==================================================  ===============================
``▁the``, ``Ġthe``   before the first token of a word                    SentencePiece; byte-level BPE
``##ing``            before every token of a word but the first          WordPiece
``▁``, ``##n``       as ``##ing``; a bare ``▁`` comes before a first     NeMo's ``decoder.vocabulary``
                     token that also occurs within words
``the</w>``          after the last token of a word;                     BPE as of 2015
                     ``the_`` and ``the▁`` as well
``th@@``             after every token of a word but the last            subword-nmt
===================  ==================================================  ===============================

A mark may also be a token of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

__all__ = ["WordMarks"]

_STARTS: Final = ("▁", "Ġ")
_WITHIN: Final = "##"
_ENDS: Final = ("</w>", "_", "▁")
_CONTINUED: Final = "@@"


class WordMarks:
    """The marks of a vocabulary: at most one of `start`, `within`, `continued` and `end`.

    Attributes:
        start: before the first token of a word; None if there is none.
        within: before every token of a word but the first; empty if there is none.
        continued: after every token of a word but the last; empty if there is none.
        end: after the last token of a word; None if there is none.
        bare_start: the name of a token that is only the mark of a start; empty if there can be none.

    Args:
        tokens: the tokens that are text.
        byte_level: whether their characters stand for bytes.

    >>> marks = WordMarks(["un", "##aff", "##able"], byte_level=False)
    >>> marks.within, marks.starts_word("able", before="un"), marks.strip("##able")
    ('##', True, 'able')
    """

    def __init__(self, tokens: Collection[str], *, byte_level: bool) -> None:
        starts = ("Ġ",) if byte_level else _STARTS
        self.start = next((mark for mark in starts if _has(tokens, mark, at_end=False)), None)
        self.within = _WITHIN if self.start is None and _has(tokens, _WITHIN, at_end=False) else ""
        marked = self.start is not None or bool(self.within)
        self.continued = _CONTINUED if not marked and _has(tokens, _CONTINUED, at_end=True) else ""
        self.end = None
        if not marked and not self.continued:
            self.end = next((mark for mark in _ENDS if _has(tokens, mark, at_end=True)), None)
        self.bare_start = self.start or ("▁" if self.within else "")

    def __bool__(self) -> bool:
        """Whether the vocabulary has marks, so that the space needs no token."""
        return bool(self.start or self.within or self.continued or self.end)

    @property
    def white_space(self) -> str | None:
        """A character that counts as white space in a text: SentencePiece's mark "▁", where the vocabulary uses it."""
        return "▁" if "▁" in (self.start, self.bare_start, self.end) else None

    def starts_word(self, token: str, before: str | None) -> bool:
        """Return whether a token starts a word, given the token before it; None for the first token of a row."""
        if before is None:
            return True
        if self.start is not None:
            return token.startswith(self.start)
        if self.within:
            is_bare = token == self.bare_start
            return is_bare or not (token.startswith(self.within) or before == self.bare_start)
        if self.continued:
            return not before.endswith(self.continued)
        return self.end is not None and before.endswith(self.end)

    def strip(self, token: str) -> str:
        """Return a token without its marks."""
        for mark in (self.start, self.within, "▁" if self.within else None):
            if mark and token.startswith(mark):
                token = token[len(mark) :]
                break
        for mark in (self.end, self.continued):
            if mark:
                token = token.removesuffix(mark)
        return token


def _has(tokens: Collection[str], mark: str, *, at_end: bool) -> bool:
    """Return whether some token has a mark at one end, and a letter or a digit next to the mark."""
    for token in tokens:
        rest = token.removesuffix(mark) if at_end else token.removeprefix(mark)
        if rest and len(rest) < len(token) and (rest[-1 if at_end else 0].isalnum() or mark in _STARTS):
            return True
    return False
