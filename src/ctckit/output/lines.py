"""The lines of a transcript, and the characters of its tokens and words."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from ctckit.output.spans import AlignedLine, AlignedToken, AlignedWord, mean_of

__all__ = ["Span", "line_ranges", "lines_of", "places_in"]

Span = tuple[int, int]

# The line ends of Unicode (UAX 14: BK, CR, LF, NL). "\r\n" counts as two, with a blank line between them.
_LINE_END = re.compile("[\n\v\f\r\x85\u2028\u2029]")

# Marks before or after a token that are not in the text.
_MARKS = re.compile(r"^(?:▁|Ġ|##)|(?:</w>|_|▁|@@)$")


def line_ranges(text: str) -> list[Span]:
    r"""Return start and end of each line that is not blank, without white space at its ends.

    >>> line_ranges("a b\r\n\r\n c\n")
    [(0, 3), (8, 9)]
    """
    edges = [0]
    for match in _LINE_END.finditer(text):
        edges += match.span()
    edges.append(len(text))
    result = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        line = text[start:end]
        if line.strip():
            result.append((start + len(line) - len(line.lstrip()), start + len(line.rstrip())))
    return result


def lines_of(text: str, words: Sequence[AlignedWord], tokens: Sequence[AlignedToken]) -> tuple[AlignedLine, ...]:
    """Group the words of a transcript, or its tokens if it has no words, into its lines.

    Returns:
        The lines with at least one token, in order; none if the text has one line, or its words are not found in it.
    """
    ranges = line_ranges(text) if _LINE_END.search(text) else []
    if len(ranges) < 2:
        return ()
    later = [start for start, _ in ranges[1:]]

    def line_at(span: Span) -> int:
        """Return the line of a name's first character. White space before it may be in the line before."""
        start, end = span
        return bisect_right(later, end - len(text[start:end].lstrip()))

    members: list[list[AlignedToken]] = [[] for _ in ranges]
    words_of: list[list[AlignedWord]] = [[] for _ in ranges]
    if words:
        spans = [word.span for word in words if word.span is not None]
        if len(spans) < len(words):
            spans = [span for span in places_in(text, [word.text for word in words]) if span is not None]
        if len(spans) < len(words):
            return ()
        for word, span in zip(words, spans, strict=True):
            line = line_at(span)
            words_of[line].append(word)
            members[line] += word.tokens
    else:
        line = 0
        for token, place in zip(tokens, places_in(text, [token.text for token in tokens]), strict=True):
            if place is not None:
                line = line_at(place)
            if token.text.strip():
                members[line].append(token)
    return tuple(
        _line(text[start:end], tuple(words_of[number]), members[number])
        for number, (start, end) in enumerate(ranges)
        if members[number]
    )


def _line(text: str, words: tuple[AlignedWord, ...], tokens: Sequence[AlignedToken]) -> AlignedLine:
    first, last = tokens[0], tokens[-1]
    return AlignedLine(text, first.start, last.end, *mean_of(tokens), words, first.start_time, last.end_time)


def places_in(text: str, names: Sequence[str]) -> list[Span | None]:
    """Find names in a text, one after the other; None for each that is not found.

    Case and the marks of sub-words ("▁", "Ġ", "##", "</w>", "_", "@@") are ignored. The names of byte-level tokens have
    one character per byte of the text, so their bytes are counted.

    >>> places_in("Hello, you", ["▁he", "llo", "▁you"])
    [(0, 2), (2, 5), (7, 10)]
    """
    lower = text.lower()
    if len(lower) != len(text):  # some capitals become two small letters
        lower = text
    places: list[Span | None] = []
    at = 0
    for name in names:
        candidates = {name, name.lower(), _MARKS.sub("", name), _MARKS.sub("", name.lower())}
        found = [
            (start, -len(candidate))
            for candidate in candidates
            if candidate.strip() and (start := lower.find(candidate, at)) >= 0
        ]
        if not found:
            places.append(None)
            continue
        start, length = min(found)
        places.append((start, start - length))
        at = start - length
    if None in places:
        return _places_by_bytes(text, names) or places
    return places


def _places_by_bytes(text: str, names: Sequence[str]) -> list[Span | None] | None:
    """Count bytes. A token that ends within a character gets the whole character. None if the bytes do not fit."""
    lengths = [len(character.encode("utf-8", "surrogatepass")) for character in text]
    sizes = [len(name) for name in names]
    if names and names[0].startswith("Ġ") and sum(sizes) == sum(lengths) + 1:
        sizes[0] -= 1
    if sum(sizes) != sum(lengths):
        return None
    character_at: list[int] = []
    for number, length in enumerate(lengths):
        character_at += [number] * length
    places: list[Span | None] = []
    end = 0
    for size in sizes:
        start, end = end, end + size
        places.append((character_at[start], character_at[end - 1] + 1) if size else None)
    return places
