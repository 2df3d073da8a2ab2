"""The table that shows an alignment as text. A bar in each row shows its time."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ctckit.output.spans import AlignedToken, AlignedWord, AlignmentLike

__all__ = ["table"]

_SHOWN_ROWS = 24  # a longer table is cut in its middle
_BAR = 40  # characters of the time line
_SHADES = "░▒▓█"  # confidence, in quarters


def table(alignment: AlignmentLike) -> str:
    """Return the text of `repr` of a `ctckit.Alignment`."""
    rows: Sequence[AlignedWord | AlignedToken] = alignment.words or alignment.tokens
    timed = alignment.frame_duration is not None
    return "\n".join([_headline(alignment), *_rows(rows, alignment.frames, timed=timed)])


def _headline(alignment: AlignmentLike) -> str:
    frames, duration = alignment.frames, alignment.frame_duration
    seconds = f" ({frames * duration:.2f} s)" if duration is not None else ""
    blank = f", blank {alignment.blank}" if alignment.blank else ""
    counts = [_count(len(alignment.lines), "line")] if alignment.lines else []
    counts += [_count(len(alignment.words), "word")] if alignment.words else []
    counts += [_count(len(alignment.tokens), "token")]
    return (
        f"Alignment: {', '.join(counts)} in {_count(frames, 'frame')}{seconds}, score {alignment.score:.2f} nats{blank}"
    )


def _rows(rows: Sequence[AlignedWord | AlignedToken], frames: int, *, timed: bool) -> list[str]:
    if not rows:
        return []
    left_out = len(rows) - _SHOWN_ROWS
    shown = list(rows) if left_out <= 1 else [*rows[: _SHOWN_ROWS // 2], *rows[-_SHOWN_ROWS // 2 :]]
    names = [_visible(row.text) for row in shown]
    width = min(24, max(map(_columns, names)))
    confident = any(row.confidence is not None for row in rows)
    start, end = ("start", "end") if timed else ("from", "to")
    lines = [f"  {'':{width}}  {start:>8} {end:>8}  {'score':>7}" + ("   conf" if confident else "")]
    for row, name in zip(shown, names, strict=True):
        times = (f"{row.start_time:8.2f}", f"{row.end_time:8.2f}") if timed else (f"{row.start:8}", f"{row.end:8}")
        confidence = f"  {row.confidence:5.0%}" if row.confidence is not None else "       " * confident
        lines.append(f"  {_fit(name, width)}  {' '.join(times)}  {row.score:7.2f}{confidence}  {_bar(row, frames)}")
    if left_out > 1:
        lines.insert(1 + _SHOWN_ROWS // 2, f"  ... {left_out} more")
    return lines


def _bar(row: AlignedWord | AlignedToken, frames: int) -> str:
    """Draw a row's span on a line of all frames, at least one character long."""
    first = min(_BAR - 1, row.start * _BAR // max(1, frames))
    last = max(first + 1, -(-row.end * _BAR // max(1, frames)))
    shade = _SHADES[3 if row.confidence is None else min(3, int(4 * row.confidence))]
    return "·" * first + shade * (last - first) + "·" * (_BAR - last)


def _visible(text: str) -> str:
    return text if text.strip() and text.isprintable() else repr(text)


def _columns(text: str) -> int:
    """Return the number of columns of a text in a terminal."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _fit(text: str, width: int) -> str:
    if _columns(text) > width:
        while _columns(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - _columns(text))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
