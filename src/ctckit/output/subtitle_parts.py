"""Splits a text into the parts that stay in one cue: words, or parts of words in scripts without spaces.

A part has the characters of the transcript, including those that the vocabulary lacks, and the times of its tokens.
Words of Chinese, Japanese, Thai and similar scripts are split between tokens, wherever a line may be broken. A word of
another script is one part. Only a very long one is split: it is a text without spaces.
"""

from __future__ import annotations

import math
import re
import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.output.line_breaks import breaks_line, ends_sentence, is_grapheme_boundary, split_gap
from ctckit.output.lines import Span, places_in
from ctckit.output.spans import AlignedToken, AlignedWord, times_of
from ctckit.output.timestamps import milliseconds

__all__ = ["Limits", "Part", "SplitText", "is_pause", "parts_of_text", "parts_of_tokens"]

# A word that is longer than a line of a subtitle, or lasts longer than a cue, is a text without spaces.
_ORDINARY_CHARACTERS = 42
_ORDINARY_DURATION = 6_000  # milliseconds

# A peaky model leaves gaps between the tokens of a word although the speaker does not pause. A gap within a word is a
# pause if it is longer than max_gap and than 3 times the usual gap, or longer than 2.5 times max_gap.
_USUAL_GAPS = 3.0
_LARGEST_GAPS = 2.5


class Limits(NamedTuple):
    """The limits of a cue."""

    characters: float
    duration: float
    """In milliseconds."""
    gap: float
    """In milliseconds, between two words."""

    @classmethod
    def of(cls, max_characters: float, max_duration: float, max_gap: float) -> Limits:
        """Check the arguments of `ctckit.Alignment.to_srt`."""
        given = {"max_characters": max_characters, "max_duration": max_duration, "max_gap": max_gap}
        for name, limit in given.items():
            if isinstance(limit, bool) or not isinstance(limit, (int, float)):
                raise ArgumentTypeError(f"{name} is {limit!r}, a {type(limit).__name__}, but must be a number")
            if not limit >= 0:
                raise ArgumentValueError(f"{name} is {limit}, but must not be negative")
        # Rounded as times are: a cue that is shown for exactly max_duration is within the limit.
        duration, gap = (
            float(round(1000 * limit)) if math.isfinite(1000 * limit) else math.inf for limit in (max_duration, max_gap)
        )
        return cls(max_characters, duration, gap)


class Part(NamedTuple):
    """A part of the transcript that stays in one cue."""

    text: str
    space: bool
    """Whether white space comes before it."""
    start: int
    """In milliseconds."""
    end: int
    """In milliseconds."""
    ends_sentence: bool


class SplitText(NamedTuple):
    """A text in parts."""

    parts: list[Part]
    gap_within: float
    """The longest gap between two parts without white space between them that is not a pause, in milliseconds."""


class _Word(NamedTuple):
    """A word, or a piece of it: its characters in the text, and its tokens."""

    span: Span
    tokens: Sequence[AlignedToken]


def parts_of_text(
    text: str,
    words: Sequence[AlignedWord],
    spans: Sequence[Span | None],
    tokens: Sequence[AlignedToken],
    limits: Limits,
) -> SplitText:
    """Cut a text into parts.

    Args:
        text: a transcript, or a line of it.
        words: its words; empty if they are not known.
        spans: start and end of each word in `text`; None if they are not known.
        tokens: its tokens, used if there are no words.
        limits: the limits of a cue.
    """
    found = _words(words, spans, len(text)) if words else _chunks(text, tokens)
    if found is None:  # the text lacks the words in this order: use the words, with spaces between them
        text = " ".join(word.text for word in words)
        edges = [0]
        for word in words:
            edges.append(edges[-1] + len(word.text) + 1)
        found = [
            _Word((start, end - 1), word.tokens) for start, end, word in zip(edges, edges[1:], words, strict=False)
        ]
    found = _with_characters_between(text, found)
    pieces = [_cut(text, word, breaks_line) for word in found]
    gap_within = _gap_within(pieces, limits)
    parts: list[Part] = []
    for number, whole in enumerate(found):
        row = pieces[number]
        beside = [*found[max(0, number - 1) : number], *found[number + 1 : number + 2]]
        # Words that touch were given by the caller. They stay whole if they fit.
        touches = any(other.span[1] == whole.span[0] or other.span[0] == whole.span[1] for other in beside)
        if touches and _fits(text, whole, row, limits, gap_within):
            row = [whole]
        parts += [_part(text, piece) for long in row for piece in _shortened(text, long, limits)]
    return SplitText(parts, gap_within)


def parts_of_tokens(tokens: Sequence[AlignedToken], limits: Limits) -> SplitText:
    """Make a part of each token; of several tokens, if they are one grapheme. Sentence ends are ignored."""
    parts: list[Part] = []
    for token in tokens:
        start, end = map(milliseconds, times_of(token, "a subtitle"))
        text = re.sub(r"\s", " ", token.text)
        if parts and not is_grapheme_boundary(parts[-1].text + text, len(parts[-1].text)):
            parts[-1] = parts[-1]._replace(text=parts[-1].text + text, end=end)
        else:
            parts.append(Part(text, False, start, end, False))
    return SplitText(parts, limits.gap)


def is_pause(before: Part, after: Part, limits: Limits, gap_within: float) -> bool:
    """Return whether there is a pause between two parts."""
    return after.start - before.end > (limits.gap if after.space else gap_within)


# ------------------------------------------------------------------------------------------------------- a text's words


def _words(words: Sequence[AlignedWord], spans: Sequence[Span | None], length: int) -> list[_Word] | None:
    """Return the words with their spans; None if the spans are not known, or not in order."""
    known = [span for span in spans if span is not None and 0 <= span[0] < span[1] <= length]
    if len(known) < len(words) or any(after[0] < before[1] for before, after in pairwise(known)):
        return None
    return [_Word(span, word.tokens) for span, word in zip(known, words, strict=True)]


def _chunks(text: str, tokens: Sequence[AlignedToken]) -> list[_Word]:
    """Split at white space, for a vocabulary that does not separate words."""
    chunks = [match.span() for match in re.finditer(r"\S+", text)]
    if not chunks:
        return []
    members: dict[Span, list[AlignedToken]] = {}
    ends = [end for _, end in chunks]
    chunk = chunks[0]
    for token, place in zip(tokens, places_in(text, [token.text for token in tokens]), strict=True):
        if place is not None:
            chunk = chunks[bisect_right(ends, place[0])]
        if token.text.strip():
            members.setdefault(chunk, []).append(token)
    return [_Word(chunk, group) for chunk, group in members.items()]


def _with_characters_between(text: str, words: Sequence[_Word]) -> list[_Word]:
    """Add each character that is in no word to the word before or after it."""
    if not words:
        return []
    edges = [len(text) - len(text.lstrip())]
    for before, after in pairwise(words):
        gap = text[before.span[1] : after.span[0]]
        cut = split_gap(text[slice(*before.span)], gap)
        edges.append(before.span[1] + len(gap[:cut].rstrip()))
        edges.append(after.span[0] - len(gap[cut:].lstrip()))
    edges.append(len(text.rstrip()))
    return [_Word((start, end), word.tokens) for start, end, word in zip(edges[::2], edges[1::2], words, strict=True)]


# ------------------------------------------------------------------------------------------------------- a word's parts


def _cut(text: str, word: _Word, may_break: Callable[[str, int], bool]) -> list[_Word]:
    """Cut a word between its tokens, wherever `may_break` allows it."""
    start, end = word.span
    inside = text[start:end]
    pieces: list[_Word] = []
    first, known, group = 0, 0, list(word.tokens[:1])
    places = places_in(inside, [token.text for token in word.tokens])
    for number, (token, place) in enumerate(zip(word.tokens, places, strict=True)):
        if number > 0:
            if place is not None and place[0] >= known:
                at = known + split_gap(inside[:known], inside[known : place[0]])
                if at > first and may_break(inside, at):
                    pieces.append(_Word((start + first, start + at), group))
                    first, group = at, []
            group.append(token)
        if place is not None:
            known = place[1]
    return [*pieces, _Word((start + first, end), group)]


def _part(text: str, piece: _Word) -> Part:
    start, end = piece.span
    shown = text[start:end]
    first, _ = times_of(piece.tokens[0], "a subtitle")
    _, last = times_of(piece.tokens[-1], "a subtitle")
    # A full stop within a word of a script with spaces, as in "3.5", ends no sentence.
    ends = ends_sentence(shown) and (end == len(text) or text[end].isspace() or breaks_line(text, end))
    space = start > 0 and text[start - 1].isspace()
    return Part(" ".join(shown.split()), space, milliseconds(first), milliseconds(last), ends)


def _gap_within(pieces: Sequence[Sequence[_Word]], limits: Limits) -> float:
    gaps = []
    for row in pieces:
        for before, after in pairwise(row):
            _, end = times_of(before.tokens[-1], "a subtitle")
            start, _ = times_of(after.tokens[0], "a subtitle")
            gaps.append(milliseconds(start) - milliseconds(end))
    if not gaps:
        return limits.gap
    return min(max(limits.gap, _USUAL_GAPS * statistics.median(gaps)), _LARGEST_GAPS * limits.gap)


def _fits(text: str, word: _Word, pieces: Sequence[_Word], limits: Limits, gap_within: float) -> bool:
    """Return whether a word may stay whole: it is within the limits, and no sentence end or pause is within it."""
    whole, parts = _part(text, word), [_part(text, piece) for piece in pieces]
    return (
        len(whole.text) <= limits.characters
        and whole.end - whole.start <= limits.duration
        and not any(part.ends_sentence for part in parts[:-1])
        and not any(is_pause(before, after, limits, gap_within) for before, after in pairwise(parts))
    )


def _shortened(text: str, word: _Word, limits: Limits) -> list[_Word]:
    """Cut a word between any two tokens if it is too long to be a word."""
    part = _part(text, word)
    if len(part.text) <= max(limits.characters, _ORDINARY_CHARACTERS) and part.end - part.start <= max(
        limits.duration, _ORDINARY_DURATION
    ):
        return [word]
    return _cut(text, word, is_grapheme_boundary)
