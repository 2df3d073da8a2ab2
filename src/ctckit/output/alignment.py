"""What `ctckit.align` returns: an alignment, how it is shown, and what it is written as.

`alignment_spans` has its parts, tokens, words and lines; the modules of the formats have the writers.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ctckit.files import write_whole
from ctckit.output import formats, json_values, subtitles, table
from ctckit.output.spans import AlignedLine, AlignedToken, AlignedWord, Level

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ctckit.plot.style import ArrayLike

__all__ = ["AlignedLine", "AlignedToken", "AlignedWord", "Alignment"]

PathLike: TypeAlias = str | os.PathLike[str]


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
    lines: tuple[AlignedLine, ...] = ()
    """The lines of a text that has several, in order, without those of which nothing was aligned; else empty."""

    # -------------------------------------------------------------------------------------------------------- formats

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values.

        A word has the index of its first token and of the one after its last, and its ``span`` if that is known; a line
        likewise those of its words. ``lines`` and ``dropped`` are there if they are not empty.

        >>> import torch, ctckit
        >>> alignment = ctckit.align(9.0 * torch.eye(4)[[0, 1, 0, 2]], "ab", ["-", "a", "b", " "], logits=True)
        >>> alignment.to_dict()["words"][0]["tokens"]
        [0, 2]
        """
        return json_values.values_of(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Alignment:
        """Make it again from what `to_dict` returned.

        Raises:
            ValueError: if something is missing, or is not what `to_dict` writes.
        """
        return cls(**json_values.read(fields)._asdict())

    def to_json(self, path: PathLike | None = None, *, indent: int | None = None) -> str:
        """Write it as JSON, all of it: `from_json` reads the same alignment from it.

        Times are in JSON as they are, in the digits of a float; all other formats round them to milliseconds, all in
        the same way: to the nearest, a half up.

        Args:
            path: file to write; None for none. The file is written whole or not at all. (As for the other formats.)
            indent: spaces to indent by; None for one line.

        Returns:
            What is written. (As for the other formats.)
        """
        return _write(path, json_values.json_text(self.to_dict(), indent) + "\n")

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

        White space in a word becomes "_", a word of white space "<space>", one without characters "<empty>".

        Args:
            path: file to write.
            recording: name of the recording, without white space.
            channel: its channel.
            level: "words" or "tokens"; None for words if there are any.

        Raises:
            ValueError: without `frame_duration`, for a level that there is not, and for a name that CTM cannot hold.
        """
        return _write(path, formats.ctm(self, recording, channel, level))

    def to_textgrid(self, path: PathLike | None = None) -> str:
        """Write a Praat TextGrid, in the long format, with the tiers lines and words (if there are any) and tokens.

        What is between the spans are intervals without text, so that each tier fills the recording. Times are rounded
        to microseconds, not milliseconds, if a frame is shorter than a millisecond: no interval is empty.

        Args:
            path: file to write.

        Raises:
            ImportError: if praatio is not installed: ``pip install ctckit[align]``.
            ValueError: without `frame_duration`, or with a negative `offset`.
        """
        return _write(path, formats.textgrid(self))

    def to_srt(
        self,
        path: PathLike | None = None,
        *,
        max_characters: int = 84,
        max_duration: float = 6.0,
        max_gap: float = 0.6,
        level: Level | None = None,
    ) -> str:
        r"""Write SubRip subtitles: cues of words, each as long as it is spoken.

        A new cue starts after a word that ends a sentence, and where the cue would otherwise be too long, or have a
        pause in it. The cues have all of the text, also what was left out of the alignment.

        Words in scripts without spaces (Chinese, Japanese, Thai and their like) may be broken between tokens, wherever
        a line may be broken: preferably after a comma, or at the longest gap, if the cue is full. Words of other
        scripts are broken only if they have more than 42 characters or last more than 6 s.

        SubRip has no escapes. Characters that players would take for markup (``<i>``, ``{\an8}``) or for the times of
        a cue are followed by a space without width (U+200B); control characters become U+FFFD.

        Args:
            path: file to write.
            max_characters: how many characters a cue may have, unless one word has more.
            max_duration: how many seconds a cue may last, unless one word does. (Of
                scripts without spaces: one token or grapheme.)
            max_gap: how many seconds there may be between two words of a cue. Within a word, a gap is a pause if it is
                longer than this and than 3 times the usual gap there, or than 2.5 times this.
            level: as for `to_ctm`. Tokens are written without spaces between them. "lines" makes each line of the
                transcript a cue, however long it is.

        Raises:
            ImportError: if the package srt or regex is not installed: ``pip install ctckit[align]``.
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
                highlighted (the format's cue timestamps). In scripts without spaces each part of a word has its time.

        Raises:
            ImportError: if webvtt-py or regex is not installed: ``pip install ctckit[align]``.
            ValueError: as `to_srt`.
        """
        cues = subtitles.cues(self, max_characters, max_duration, max_gap, level)
        return _write(path, subtitles.vtt(cues, word_times=word_times))

    def to_dataframe(self, level: Level | None = None) -> pd.DataFrame:
        """Return a pandas data frame, one row per line, word or token.

        Its columns are text, start, end, start_time, end_time, score, confidence; of tokens also id and word, the index
        of the word that it belongs to; of words and tokens also line, if the transcript has several. What is not known
        is missing.

        Args:
            level: "lines", "words" or "tokens"; None for words if there are any.

        Raises:
            ImportError: if pandas is not installed.
            ValueError: for a level that there is not.
        """
        return formats.dataframe(self, level)

    # --------------------------------------------------------------------------------------------------------- a look

    def plot(
        self,
        emissions: ArrayLike | None = None,
        *,
        waveform: ArrayLike | None = None,
        image: ArrayLike | None = None,
        seconds: tuple[float, float] | None = None,
        blank: int | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw it: `ctckit.plot.alignment`, which says what each argument is."""
        from ctckit import plot  # noqa: PLC0415  # only who draws needs it

        return plot.alignment(self, emissions, waveform=waveform, image=image, seconds=seconds, blank=blank, ax=ax)

    def __repr__(self) -> str:
        return table.table(self)


def _write(path: PathLike | None, text: str) -> str:
    if path is not None:
        write_whole(path, text)
    return text
