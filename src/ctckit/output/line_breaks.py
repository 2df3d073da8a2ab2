"""Where a text may be broken between two lines or cues, and where sentences and clauses end.

The rules are those of Unicode's line breaking (UAX 14) and text segmentation (UAX 29), as far as subtitles need them.
The package regex has the properties of characters.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

__all__ = ["breaks_line", "ends_clause", "ends_sentence", "is_grapheme_boundary", "split_gap"]

# Marks that end a sentence (Unicode's Sentence_Terminal, of scripts in use), and the ellipsis.
_SENTENCE_ENDS = frozenset(".?!…‼⁇⁈⁉。．｡？！﹒﹖﹗؟۔।॥։።፧။។៕᠃᠉")  # noqa: RUF001  # full-width, on purpose
_CLAUSE_ENDS = frozenset(",;:،؛、，；：､")  # noqa: RUF001
_QUOTES = frozenset("\"'“”‘’„«»")  # noqa: RUF001  # languages differ in which of them open and which close

# Vowels that belong to the consonant after or before them, although Unicode ends a grapheme there.
_LEADING_VOWELS = frozenset("เแโใไເແໂໃໄ")
_FOLLOWING_SIGNS = frozenset("ะาำๅๆฯະາຳໆຯ")


def ends_sentence(text: str) -> bool:
    """Return whether a text ends with a mark that ends a sentence. Closing marks and white space after it are ignored.

    >>> ends_sentence('He said "no."'), ends_sentence("你好。」"), ends_sentence("3.5")
    (True, True, False)
    """
    return _without_closers(text)[-1:] in _SENTENCE_ENDS


def ends_clause(text: str) -> bool:
    """Return whether a text ends with a comma or a similar mark. Closing marks and white space after it are ignored."""
    return _without_closers(text)[-1:] in _CLAUSE_ENDS


def _without_closers(text: str) -> str:
    end = len(text)
    while end and (
        text[end - 1] in _QUOTES or text[end - 1].isspace() or unicodedata.category(text[end - 1]) in ("Pe", "Pf")
    ):
        end -= 1
    return text[:end]


def _opens(character: str) -> bool:
    return unicodedata.category(character) in ("Ps", "Pi") or character in "¿¡"


def split_gap(before: str, gap: str) -> int:
    """Return how many characters of a gap between two words belong to the first one.

    Opening marks belong to the second word. So does everything after the end of a sentence.

    Args:
        before: the first word.
        gap: the characters between the words: white space, marks, words that were left out.

    >>> split_gap("Hello", ", "), split_gap("走", "。「"), split_gap("No.", " - ")
    (2, 1, 1)
    """
    ended = ends_sentence(before)
    last_space = max((at for at, character in enumerate(gap) if character.isspace()), default=None)
    for at, character in enumerate(gap):
        if character.isspace():
            continue
        closes = unicodedata.category(character) in ("Pe", "Pf")
        if _opens(character) or (at - 1 == last_space and not closes):
            return at
        if character in _SENTENCE_ENDS:
            ended = True
        elif ended and not (closes or character in _QUOTES):
            return at
    return len(gap)


class _Rules:
    """The patterns. They are made when first needed, since the package regex is optional."""

    def __init__(self) -> None:
        try:
            regex: Any = import_module("regex")
        except ImportError as error:
            raise ImportError(
                "subtitles of this text need the package regex, which is missing: pip install ctckit[align]"
            ) from error
        self.grapheme = regex.compile(r"\X")
        # Scripts without spaces between words, and their punctuation.
        self.dense = regex.compile(
            r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Tibetan}\p{LB=SA}\p{LB=CJ}"
            r"\u3000-\u303f\ufe30-\ufe4f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
        )
        # Closing marks, small letters, marks of length and repetition, and marks that end a sentence or clause.
        self.never_first = regex.compile(r"[\p{LB=CL}\p{LB=CP}\p{LB=EX}\p{LB=NS}\p{LB=CJ}\p{LB=IS}\p{Pe}\p{Pf}…‥]")
        self.never_last = regex.compile(r"[\p{LB=OP}\p{Ps}\p{Pi}]")


_rules = cache(_Rules)


def is_grapheme_boundary(text: str, at: int) -> bool:
    """Return whether a position is between characters, each with its marks and vowels.

    >>> is_grapheme_boundary("e\u0301a", 1), is_grapheme_boundary("e\u0301a", 2), is_grapheme_boundary("เก", 1)
    (False, True, False)
    """
    if not 0 < at < len(text):
        return True
    if text[at - 1] in _LEADING_VOWELS or text[at] in _FOLLOWING_SIGNS:
        return False
    if text.isascii():
        return True
    return at in _grapheme_starts(text)


@lru_cache(maxsize=8)  # callers ask for every position of a text
def _grapheme_starts(text: str) -> frozenset[int]:
    return frozenset(match.start() for match in _rules().grapheme.finditer(text))


def breaks_line(text: str, at: int) -> bool:
    """Return whether a line may be broken at a position without white space.

    >>> breaks_line("走吧。好", 1), breaks_line("走吧。好", 2), breaks_line("走吧。好", 3), breaks_line("no", 1)
    (True, False, True, False)
    """
    if text.isascii():
        return False
    rules = _rules()
    return (
        (rules.dense.match(text, at - 1) or rules.dense.match(text, at)) is not None
        and rules.never_first.match(text, at) is None
        and rules.never_last.match(text, at - 1) is None
        and is_grapheme_boundary(text, at)
    )
