"""What the tokens of a vocabulary say of words: which begin one, end one, or stand between two."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ctckit.text.vocabulary import Vocabulary

__all__ = ["WordRole", "count_words", "word_roles"]


class WordRole(IntFlag):
    """A role of a token. The same numbers are in native/decoding/word_classes.hpp."""

    SEPARATES = 1
    """Stands between words, and is part of none; so does a mark that is a token of its own."""
    STARTS = 2
    """Begins a word."""
    ENDS = 4
    """Ends a word."""


def word_roles(vocabulary: Vocabulary) -> npt.NDArray[np.uint8]:
    """Return the roles of each class; all are 0 if the vocabulary does not show words.

    >>> from ctckit import Vocabulary
    >>> word_roles(Vocabulary(["-", " ", "a"])), word_roles(Vocabulary(["-", "▁", "▁a", "a"]))
    (array([0, 1, 0], dtype=uint8), array([0, 1, 2, 0], dtype=uint8))
    """
    roles = np.zeros(vocabulary.size, dtype=np.uint8)
    for name, number in vocabulary.ids.items():
        roles[number] = _role(vocabulary, name)
    return roles


def count_words(classes: Iterable[int], roles: bytes) -> int:
    """Count the words of a row of classes, as the scorer of words does (native/decoding/word_scorer.cpp, `take`).

    Args:
        classes: the row.
        roles: the bytes of `word_roles`. Classes beyond are part of words.

    >>> from ctckit import Vocabulary
    >>> count_words([2, 1, 1, 2, 2], word_roles(Vocabulary(["-", " ", "a"])).tobytes())
    2
    """
    separates, ends = int(WordRole.SEPARATES), int(WordRole.ENDS)  # numbers: flags are ten times slower
    after = int(WordRole.SEPARATES | WordRole.STARTS)
    count, is_within = 0, False
    for number in classes:
        role = roles[number] if number < len(roles) else 0
        if role & after:
            count, is_within = count + is_within, False
        if not role & separates:
            is_within = True
        if role & ends:
            count, is_within = count + is_within, False
    return count + is_within


def _role(vocabulary: Vocabulary, name: str) -> int:
    marks: Any = vocabulary.marks
    if name == vocabulary.word_separator:
        return WordRole.SEPARATES
    if vocabulary.is_special(name):
        return 0
    if not marks:
        # The tokens of some tokenizers start a word with the space itself.
        return WordRole.STARTS if name.startswith(" ") and not vocabulary.shows_words else 0
    if name in (marks.start, marks.bare_start, marks.end):
        return WordRole.SEPARATES
    if marks.start is not None:
        return WordRole.STARTS if name.startswith(marks.start) else 0
    if marks.within:
        return 0 if name.startswith(marks.within) else WordRole.STARTS
    if marks.continued:
        return 0 if name.endswith(marks.continued) else WordRole.ENDS
    return WordRole.ENDS if marks.end and name.endswith(marks.end) else 0
