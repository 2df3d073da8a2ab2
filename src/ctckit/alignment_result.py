"""What an alignment is: tokens and words with their places, scores and confidences; and how it is shown and kept.

`ctckit.align` makes it. Frames are counted from 0, and a span's end is the frame after its last, as in a slice. Seconds
are ``offset + frame * frame_duration``. Scores are means of log-probabilities, in nats. A confidence is a probability:
the expected share of a span's frames that belong to the token, see `ctckit.align`.
"""

from __future__ import annotations

import json
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ctckit import alignment_formats, subtitles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from ctckit.plot.style import ArrayLike

__all__ = ["AlignedToken", "AlignedWord", "Alignment"]

Level: TypeAlias = Literal["words", "tokens"]
PathLike: TypeAlias = str | os.PathLike[str]

_SHOWN_ROWS = 24  # a longer table is cut in its middle
_BAR = 40  # characters of the time line
_SHADES = "░▒▓█"  # confidence, in quarters


@dataclass(frozen=True, slots=True)
class AlignedToken:
    """A token of the transcript, and where it is."""

    text: str
    """Its name in the vocabulary; for a wildcard, what it stands for."""
    id: int | None
    """Its class; None for a wildcard."""
    start: int
    """Its first frame."""
    end: int
    """The frame after its last."""
    score: float
    """Mean over its frames of the log-probability of its class, in nats."""
    confidence: float | None = None
    """Expected share of its frames that belong to it, from 0 to 1; None if it was not asked for."""
    start_time: float | None = None
    """Where it starts, in seconds; None if the duration of a frame is not known."""
    end_time: float | None = None
    """Where it ends, in seconds."""

    def __len__(self) -> int:
        """Give its duration in frames."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """A word of the transcript, and where it is: from the start of its first token to the end of its last."""

    text: str
    """As it is in the transcript."""
    start: int
    """Its first frame."""
    end: int
    """The frame after its last."""
    score: float
    """Mean of its tokens' scores, weighted by their frames, in nats."""
    confidence: float | None
    """Mean of its tokens' confidences, weighted by their frames."""
    tokens: tuple[AlignedToken, ...]
    """Its tokens, in order; at least one."""

    @property
    def start_time(self) -> float | None:
        """Where it starts, in seconds; None if the duration of a frame is not known."""
        return self.tokens[0].start_time

    @property
    def end_time(self) -> float | None:
        """Where it ends, in seconds."""
        return self.tokens[-1].end_time

    def __len__(self) -> int:
        """Give its duration in frames."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, repr=False)
class Alignment:
    """A transcript in its places, from `ctckit.align`.

    Printed, it is a table of its words (or tokens, if there are no words), each with a bar where it is in time, the
    darker the more confident.

    Example:
        >>> import torch, ctckit
        >>> log_probs = torch.tensor([[1.0, 7, 2], [0, 6, 2], [5, 1, 2], [4, 0, 3], [1, 0, 9]]).log_softmax(1)
        >>> alignment = ctckit.align(log_probs, "ab", ["-", "a", "b"], frame_duration=0.02)
        >>> alignment.tokens[1].start, alignment.tokens[1].end, alignment.tokens[1].start_time
        (4, 5, 0.08)
        >>> ctckit.Alignment.from_json(alignment.to_json()) == alignment
        True
    """

    text: str
    """The transcript."""
    tokens: tuple[AlignedToken, ...]
    """Its tokens, in order, separators included."""
    words: tuple[AlignedWord, ...]
    """Its words, in order; empty if nothing tells words apart."""
    score: float
    """Log-probability of the path, the sum over all frames, in nats."""
    frames: int
    """How many frames the input has."""
    frame_duration: float | None = None
    """Seconds per frame."""
    offset: float = 0.0
    """Where the first frame starts, in seconds."""
    dropped: tuple[str, ...] = ()
    """Words, or parts of words, that ``unknown="skip"`` left out, as they are written."""
    blank: int = 0
    """Class of the blank."""

    # -------------------------------------------------------------------------------------------------------- formats

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values; of each word's tokens, the index of the first and of the one after the last."""
        index = {id(token): number for number, token in enumerate(self.tokens)}
        words = [
            {
                "text": word.text,
                "start": word.start,
                "end": word.end,
                "score": word.score,
                "confidence": word.confidence,
                "start_time": word.start_time,
                "end_time": word.end_time,
                "tokens": [index[id(word.tokens[0])], index[id(word.tokens[-1])] + 1],
            }
            for word in self.words
        ]
        return {
            "text": self.text,
            "score": self.score,
            "frames": self.frames,
            "frame_duration": self.frame_duration,
            "offset": self.offset,
            **({"dropped": list(self.dropped)} if self.dropped else {}),
            **({"blank": self.blank} if self.blank else {}),
            "words": words,
            "tokens": [{name: getattr(token, name) for name in AlignedToken.__slots__} for token in self.tokens],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Alignment:
        """Make it again from what `to_dict` returned.

        Raises:
            ValueError: if something is missing, or is not what `to_dict` writes.
        """
        try:
            tokens = tuple(AlignedToken(**token) for token in values["tokens"])
            words = []
            for word in values["words"]:
                first, end = word["tokens"]
                fields = {name: word[name] for name in ("text", "start", "end", "score", "confidence")}
                words.append(AlignedWord(**fields, tokens=tokens[first:end]))
            rest = {name: values[name] for name in ("text", "score", "frames", "frame_duration", "offset")}
            rest |= {"dropped": tuple(values.get("dropped", ())), "blank": values.get("blank", 0)}
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is not an alignment as to_json writes it: {error!r}") from error
        return cls(tokens=tokens, words=tuple(words), **rest)

    def to_json(self, path: PathLike | None = None, *, indent: int | None = None) -> str:
        """Write it as JSON, all of it: `from_json` reads the same alignment from it.

        Args:
            path: file to write; None for none. (As for the other formats.)
            indent: spaces to indent by; None for one line.

        Returns:
            What is written. (As for the other formats.)
        """
        return _write(path, json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=indent) + "\n")

    @classmethod
    def from_json(cls, source: PathLike) -> Alignment:
        """Read what `to_json` wrote.

        Args:
            source: the JSON itself, or the path of the file.

        Raises:
            ValueError: if it is no JSON, or not that of an alignment.
        """
        is_json = isinstance(source, str) and source.lstrip().startswith("{")
        text = str(source) if is_json else Path(source).read_text(encoding="utf-8")
        return cls.from_dict(json.loads(text))

    def to_ctm(
        self, path: PathLike | None = None, *, recording: str = "audio", channel: str = "1", level: Level | None = None
    ) -> str:
        """Write NIST's time-marked conversation format: recording, channel, start, duration, word, confidence.

        Args:
            path: file to write.
            recording: name of the recording, without white space.
            channel: its channel.
            level: "words" or "tokens"; None for words if there are any.

        Raises:
            ValueError: without `frame_duration`, for a level that there is not, and for white space in a name.
        """
        return _write(path, alignment_formats.ctm(self, recording, channel, level))

    def to_textgrid(self, path: PathLike | None = None) -> str:
        """Write a Praat TextGrid, in the long format, with the tiers words (if there are any) and tokens.

        What is between the spans are intervals without text, so that each tier fills the recording.

        Args:
            path: file to write.

        Raises:
            ImportError: if praatio is not installed: ``pip install ctckit[align]``.
            ValueError: without `frame_duration`, or with a negative `offset`.
        """
        return _write(path, alignment_formats.textgrid(self))

    def to_srt(
        self,
        path: PathLike | None = None,
        *,
        max_characters: int = 84,
        max_duration: float = 6.0,
        max_gap: float = 0.6,
        level: Level | None = None,
    ) -> str:
        """Write SubRip subtitles: cues of words, each as long as it is spoken.

        A new cue starts after a word that ends a sentence, and where the cue would otherwise be too long, or have a
        pause in it.

        Args:
            path: file to write.
            max_characters: how many characters a cue may have, unless one word has more.
            max_duration: how many seconds a cue may last, unless one word does.
            max_gap: how many seconds there may be between two words of a cue.
            level: as for `to_ctm`. Tokens are written without spaces between them.

        Raises:
            ImportError: if the package srt is not installed: ``pip install ctckit[align]``.
            ValueError: as `to_ctm`, or with a negative `offset`.
        """
        cues = subtitles.cues(self, max_characters, max_duration, max_gap, level)
        return _write(path, subtitles.srt(cues))

    def to_vtt(
        self,
        path: PathLike | None = None,
        *,
        max_characters: int = 84,
        max_duration: float = 6.0,
        max_gap: float = 0.6,
        level: Level | None = None,
        word_times: bool = False,
    ) -> str:
        """Write WebVTT subtitles: what browsers show with ``<track>``.

        Args:
            path: as for `to_srt`.
            max_characters: as for `to_srt`.
            max_duration: as for `to_srt`.
            max_gap: as for `to_srt`.
            level: as for `to_srt`.
            word_times: whether to write, before each word of a cue but the first, when it starts, so that it can be
                highlighted (the format's cue timestamps).

        Raises:
            ImportError: if webvtt-py is not installed: ``pip install ctckit[align]``.
            ValueError: as `to_srt`.
        """
        cues = subtitles.cues(self, max_characters, max_duration, max_gap, level)
        return _write(path, subtitles.vtt(cues, word_times=word_times))

    def to_dataframe(self, level: Level | None = None) -> pd.DataFrame:
        """Return a pandas data frame, one row per word or token.

        Its columns are text, start, end, start_time, end_time, score, confidence; of tokens also id and word, the index
        of the word that it belongs to. What is not known is missing.

        Args:
            level: as for `to_ctm`.

        Raises:
            ImportError: if pandas is not installed.
            ValueError: for a level that there is not.
        """
        return alignment_formats.dataframe(self, level)

    # --------------------------------------------------------------------------------------------------------- a look

    def plot(
        self,
        emissions: ArrayLike | None = None,
        *,
        waveform: ArrayLike | None = None,
        image: ArrayLike | None = None,
        seconds: tuple[float, float] | None = None,
        blank: int = 0,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw it: `ctckit.plot.alignment`, which says what each argument is."""
        from ctckit import plot  # noqa: PLC0415  # only who draws needs it

        return plot.alignment(self, emissions, waveform=waveform, image=image, seconds=seconds, blank=blank, ax=ax)

    def __repr__(self) -> str:
        rows: Sequence[AlignedWord | AlignedToken] = self.words or self.tokens
        return "\n".join([self._headline(), *_table(rows, self.frames, timed=self.frame_duration is not None)])

    def _headline(self) -> str:
        duration = f" ({self.frames * self.frame_duration:.2f} s)" if self.frame_duration is not None else ""
        counts = [_count(len(self.words), "word")] if self.words else []
        counts += [_count(len(self.tokens), "token")]
        blank = f", blank {self.blank}" if self.blank else ""
        return (
            f"Alignment: {', '.join(counts)} in {_count(self.frames, 'frame')}{duration}, score {self.score:.2f} nats"
            f"{blank}"
        )


def _table(rows: Sequence[AlignedWord | AlignedToken], frames: int, *, timed: bool) -> list[str]:
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
    """Draw a row's span, at least one character of it, on a line that stands for all frames."""
    first = min(_BAR - 1, row.start * _BAR // max(1, frames))
    last = max(first + 1, -(-row.end * _BAR // max(1, frames)))
    shade = _SHADES[3 if row.confidence is None else max(0, min(3, int(4 * row.confidence)))]
    return "·" * first + shade * (last - first) + "·" * (_BAR - last)


def _visible(text: str) -> str:
    return text if text.strip() and text.isprintable() else repr(text)


def _columns(text: str) -> int:
    """Count the columns that a terminal takes for a text."""
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


def _write(path: PathLike | None, text: str) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8", newline="\n")
    return text
