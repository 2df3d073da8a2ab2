"""Splits a text into words: by white space, or as the caller says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from ctckit.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["Layout", "Words", "layout_of"]

Words: TypeAlias = Sequence[str] | Callable[[str], Sequence[str]]
"""The words of a text, or a function from a text to its words."""


class Layout(NamedTuple):
    """Which characters of a text are white space, and which word the others belong to."""

    spans: list[tuple[int, int]]
    """Start and end of each word."""
    word_of: list[int]
    """The word of each character; -1 for white space, also within a word."""


def layout_of(
    text: str, words: Words | None, separators: Sequence[str], names: Sequence[tuple[int, int]] = ()
) -> Layout:
    """Find the words of a text.

    Args:
        text: the text.
        words: as for `ctckit.align`.
        separators: further characters that count as white space.
        names: start and end of each name of a special token. Separators within a name are not white space.

    Raises:
        ArgumentTypeError: if `words` is neither a list of str nor a function that returns one.
        ArgumentValueError: for words that are not in the text in this order, and for letters that are in no word.
    """
    white = re.compile("|".join([r"\s", *map(re.escape, separators)]))
    named = bytearray(len(text))
    for start, end in names:
        named[start:end] = b"\1" * (end - start)
    gaps = [match.span() for match in white.finditer(text)]
    gaps = [(start, end) for start, end in gaps if not all(named[start:end])]
    word_of = [0] * len(text)
    for start, end in gaps:
        word_of[start:end] = [-1] * (end - start)
    bounds = [0, *(place for gap in gaps for place in gap), len(text)]
    chunks = [(start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=True) if start < end]
    spans = chunks if words is None else _spans_of(text, words, word_of)
    for number, (start, end) in enumerate(spans):
        if words is None:
            word_of[start:end] = [number] * (end - start)
            continue
        for at in range(start, end):
            if word_of[at] >= 0:
                word_of[at] = number
    return Layout(spans, word_of)


def _spans_of(text: str, words: Words, word_of: list[int]) -> list[tuple[int, int]]:
    given: Any = words(text) if callable(words) else words
    if isinstance(given, str) or not isinstance(given, Sequence):
        what = "returned" if callable(words) else "is"
        raise ArgumentTypeError(f"words {what} a {type(given).__name__}, but must be a list of str")
    spans: list[tuple[int, int]] = []
    at = 0
    for number, word in enumerate(given):
        if not isinstance(word, str):
            raise ArgumentTypeError(f"words[{number}] is {word!r}, a {type(word).__name__}, but must be a str")
        bare = word.strip()
        if not bare:
            continue
        start = text.find(bare, at)
        if start < 0:
            raise ArgumentValueError(
                f"words[{number}] is {word!r}, which is not in the text after position {at}: the words must be those "
                f"of the text, in order"
            )
        spans += _between(text, at, start, word_of, f"words[{number}], {word!r}")
        spans.append((start, start + len(bare)))
        at = start + len(bare)
    return spans + _between(text, at, len(text), word_of, "the end of the text")


def _between(text: str, start: int, end: int, word_of: list[int], what: str) -> list[tuple[int, int]]:
    """Return the words between two of the caller's words: runs of punctuation."""
    spans: list[tuple[int, int]] = []
    for at in range(start, end):
        if word_of[at] < 0:
            continue
        if text[at].isalnum():
            raise ArgumentValueError(
                f"words has no word for {text[at:end].strip()!r} at position {at} of the text, before {what}: "
                f"give all words of the text"
            )
        if spans and spans[-1][1] == at:
            spans[-1] = (spans[-1][0], at + 1)
        else:
            spans.append((at, at + 1))
    return spans
