"""Alignments as subtitles: words grouped into cues, SubRip and WebVTT. Called by the methods of `ctckit.Alignment`."""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from ctckit.alignment_formats import rows_of, times_of

if TYPE_CHECKING:
    from ctckit.alignment_result import Alignment, Level

__all__ = ["Cue", "cues", "srt", "vtt"]

_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "।", "؟")  # noqa: RUF001  # full-width, on purpose
_CLOSERS = "\"'”’»)]"  # noqa: RUF001  # may follow the end of a sentence


class Cue(NamedTuple):
    """A subtitle: words that are shown together."""

    start: float
    """In seconds."""
    end: float
    """In seconds."""
    words: list[tuple[float, str]]
    """When each of them starts, and its text."""
    space: str
    """What is between two of them."""

    @property
    def text(self) -> str:
        """What is shown."""
        return self.space.join(text for _, text in self.words)


def cues(
    alignment: Alignment, max_characters: int, max_duration: float, max_gap: float, level: Level | None
) -> list[Cue]:
    """Group words into cues. See `ctckit.Alignment.to_srt`."""
    for name, limit in (("max_characters", max_characters), ("max_duration", max_duration), ("max_gap", max_gap)):
        if not limit >= 0:
            raise ValueError(f"{name} is {limit}, but must not be negative")
    if alignment.offset < 0:
        raise ValueError(f"offset is {alignment.offset}, but subtitles have no time before 0")
    rows = rows_of(alignment, level)
    space = " " if rows is alignment.words else ""
    result: list[Cue] = []
    for row in rows:
        start, end = times_of(row, "a subtitle")
        text = " ".join(row.text.split()) if space else row.text
        last = result[-1] if result else None
        if (
            last is None
            or start - last.end > max_gap
            or end - last.start > max_duration
            or len(last.text) + len(space) + len(text) > max_characters
            or (space and last.text.rstrip(_CLOSERS).endswith(_SENTENCE_ENDS))
        ):
            result.append(Cue(start, end, [(start, text)], space))
        else:
            last.words.append((start, text))
            result[-1] = last._replace(end=end)
    return result


def srt(cues: list[Cue]) -> str:
    """Write SubRip."""
    return _written([(cue.start, cue.end, cue.text) for cue in cues], "srt")


def vtt(cues: list[Cue], *, word_times: bool) -> str:
    """Write WebVTT."""
    rows = []
    for cue in cues:
        texts = [html.escape(text, quote=False) for _, text in cue.words]
        for number, (start, _) in enumerate(cue.words):
            if word_times and number > 0 and start > cue.start:
                texts[number] = f"<{_clock(start)}>{texts[number]}"
        rows.append((cue.start, cue.end, cue.space.join(texts)))
    return _written(rows, "vtt")


def _written(rows: list[tuple[float, float, str]], kind: str) -> str:
    try:
        import webvtt  # noqa: PLC0415  # optional
    except ImportError as error:
        raise ImportError(
            "subtitles are written with webvtt-py, which is not installed: pip install ctckit[align]"
        ) from error
    document: Any = webvtt.WebVTT()
    document.captions.extend(webvtt.Caption(_clock(start), _clock(end), text) for start, end, text in rows)
    file = io.StringIO()
    document.write(file, format=kind)
    return file.getvalue().rstrip("\n") + "\n"


def _clock(seconds: float) -> str:
    """Write a time as hours, minutes, seconds and thousandths."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
