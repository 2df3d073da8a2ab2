"""Subtitles: groups parts of the text into cues, and writes SubRip and WebVTT.

The methods of `ctckit.Alignment` call these functions.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any, NamedTuple

from ctckit.errors import ArgumentValueError
from ctckit.output.formats import printable
from ctckit.output.line_breaks import ends_clause
from ctckit.output.lines import Span, line_ranges, places_in
from ctckit.output.spans import AlignedLine, AlignmentLike, Level, Row, rows_of, times_of
from ctckit.output.subtitle_parts import Limits, Part, SplitText, is_pause, parts_of_text, parts_of_tokens
from ctckit.output.timestamps import clock, milliseconds

__all__ = ["Cue", "cues", "srt", "vtt"]


class Cue(NamedTuple):
    """A subtitle: parts of the text that are shown together."""

    start: int
    """In milliseconds."""
    end: int
    """In milliseconds."""
    parts: Sequence[Part]

    @property
    def text(self) -> str:
        """The text that is shown."""
        return _joined(self.parts, [part.text for part in self.parts])


def cues(
    alignment: AlignmentLike, max_characters: float, max_duration: float, max_gap: float, level: Level | None
) -> list[Cue]:
    """Group words, or parts of words, into cues. See `ctckit.Alignment.to_srt`."""
    limits = Limits.of(max_characters, max_duration, max_gap)
    if alignment.offset < 0:
        raise ArgumentValueError(f"offset is {alignment.offset}, but subtitles have no time before 0")
    rows = rows_of(alignment, level)
    if not rows:
        return []
    if level == "lines":
        found = _cues_of_lines(alignment, rows, limits)
    else:
        split = _split(alignment, limits, by_token=rows is alignment.tokens, asked=level is not None)
        groups = _grouped(split, limits)
        found = [Cue(group[0].start, max(part.end for part in group), group) for group in groups]
    return [cue._replace(end=max(cue.end, cue.start + 1)) for cue in found if cue.text]


def _split(alignment: AlignmentLike, limits: Limits, *, by_token: bool, asked: bool) -> SplitText:
    names = [token.text for token in alignment.tokens]
    # The text of a row of tokens is their names. In any other text most tokens are found.
    if by_token and (asked or alignment.text == " ".join(names) or not _has_most(alignment.text, names)):
        return parts_of_tokens(alignment.tokens, limits)
    spans = [word.span for word in alignment.words]
    if None in spans:
        spans = places_in(alignment.text, [word.text for word in alignment.words])
    return parts_of_text(alignment.text, alignment.words, spans, alignment.tokens, limits)


def _has_most(text: str, names: Sequence[str]) -> bool:
    places = places_in(text, [name for name in names if name.strip()])
    return 2 * sum(place is not None for place in places) >= len(places)


def _cues_of_lines(alignment: AlignmentLike, lines: Sequence[Row], limits: Limits) -> list[Cue]:
    starts = [token.start for token in alignment.tokens]
    ranges = iter(line_ranges(alignment.text))
    result = []
    for line in lines:
        start, end = map(milliseconds, times_of(line, "a subtitle"))
        words = line.words if isinstance(line, AlignedLine) else ()
        tokens = alignment.tokens[bisect_left(starts, line.start) : bisect_left(starts, line.end)]
        place = next((place for place in ranges if alignment.text[slice(*place)] == line.text), None)
        spans = _shifted([word.span for word in words], place)
        if None in spans:
            spans = places_in(line.text, [word.text for word in words])
        result.append(Cue(start, end, parts_of_text(line.text, words, spans, tokens, limits).parts))
    return result


def _shifted(spans: Sequence[Span | None], place: Span | None) -> Sequence[Span | None]:
    """Turn spans in the whole text into spans in a line; None for each that is not in the line."""
    if place is None:
        return [None] * len(spans)
    start, end = place
    return [
        (span[0] - start, span[1] - start) if span is not None and start <= span[0] and span[1] <= end else None
        for span in spans
    ]


def _grouped(split: SplitText, limits: Limits) -> list[list[Part]]:
    """Put as many parts into each cue as the limits allow."""
    parts, gap_within = split
    groups = []
    first = 0
    while first < len(parts):
        end, length = first + 1, len(parts[first].text)
        while end < len(parts):
            before, after = parts[end - 1], parts[end]
            if before.ends_sentence or is_pause(before, after, limits, gap_within):
                break
            length += after.space + len(after.text)
            if length > limits.characters or after.end - parts[first].start > limits.duration:
                end = end if after.space else _best_end(parts, first, end)
                break
            end += 1
        groups.append(parts[first:end])
        first = end
    return groups


def _best_end(parts: Sequence[Part], first: int, end: int) -> int:
    """Return the end of a full cue, in its second half: after a space or comma, else at the longest gap."""

    def merit(at: int) -> tuple[bool, int, int]:
        before, after = parts[at - 1], parts[at]
        return after.space or ends_clause(before.text), after.start - before.end, at

    return max(range(max(first + 1, (first + end + 1) // 2), end + 1), key=merit)


def _joined(parts: Sequence[Part], texts: Sequence[str]) -> str:
    return "".join(" " * part.space + text for part, text in zip(parts, texts, strict=True)).strip()


# ------------------------------------------------------------------------------------------------------------- formats

_INVISIBLE = "\u200b"  # a zero-width space

# SubRip has no escapes. An invisible character breaks up text that players would read as markup or as the next cue.
_SRT_MARKUP = re.compile(
    r"<(?=\s*/?\s*(?:b|i|u|s|br|font|em|strong|span|c|v|ruby|rt)\b)"  # tags
    r"|\{(?=\s*\\|\s*/?\s*[biu]\s*\})"  # {\an8}, {b}
    r"|-[- ] *(?=>)"  # the arrow between times
    r"|(?<=\d):(?=\d\d:\d\d[.,]\d)",  # times themselves
    re.IGNORECASE,
)


def srt(cues: Sequence[Cue]) -> str:
    """Write SubRip."""
    library = _library("srt", "srt")
    rows = [
        library.Subtitle(
            number,
            timedelta(milliseconds=cue.start),
            timedelta(milliseconds=cue.end),
            _SRT_MARKUP.sub(lambda match: match[0] + _INVISIBLE, printable(cue.text)),
        )
        for number, cue in enumerate(cues, start=1)
    ]
    return str(library.compose(rows, reindex=False)).rstrip("\n") + "\n"


def vtt(cues: Sequence[Cue], *, word_times: bool) -> str:
    """Write WebVTT."""
    library = _library("webvtt", "webvtt-py")
    document = library.WebVTT()
    for cue in cues:
        texts = [html.escape(printable(part.text), quote=False) for part in cue.parts]
        last = cue.start
        for number, part in enumerate(cue.parts):
            # The format requires each time stamp to be after the start and the stamp before it, and before the end.
            if word_times and last < part.start < cue.end:
                texts[number] = f"<{clock(part.start)}>{texts[number]}"
                last = part.start
        document.captions.append(library.Caption(clock(cue.start), clock(cue.end), _joined(cue.parts, texts)))
    return str(document.content).rstrip("\n") + "\n"


def _library(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"these subtitles are written with {package}, which is missing: pip install ctckit[align]"
        ) from error
