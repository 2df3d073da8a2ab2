"""The result of `ctckit.align`: an alignment, with a method for each format.

`ctckit.output.spans` has its parts: tokens, words and lines. The writers are in the modules of the formats.
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

    Printed, it is a table of its words, or of its tokens if there are no words. A bar in each row shows the time of the
    word; it is darker for a higher confidence.

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
    """Its words, in order; empty if they are not known."""
    score: float
    """Log-probability of the path, the sum over all frames, in nats."""
    frames: int
    """Number of frames of the input."""
    frame_duration: float | None = None
    """Seconds per frame."""
    offset: float = 0.0
    """Start of the first frame, in seconds."""
    dropped: tuple[str, ...] = ()
    """Words, or parts of words, that ``unknown="skip"`` left out, as they are written."""
    blank: int = 0
    """Class of the blank."""
    lines: tuple[AlignedLine, ...] = ()
    """The lines of a text, in order; empty if the text has one line. Lines without an aligned token are missing."""

    # -------------------------------------------------------------------------------------------------------- formats

    def to_dict(self) -> dict[str, Any]:
        """Return the alignment as plain values.

        A word has the index of its first token and the index after its last, and its ``span`` if that is known. A line
        has these indices of its words. ``lines`` and ``dropped`` are present if they are not empty.

        >>> import torch, ctckit
        >>> alignment = ctckit.align(9.0 * torch.eye(4)[[0, 1, 0, 2]], "ab", ["-", "a", "b", " "], logits=True)
        >>> alignment.to_dict()["words"][0]["tokens"]
        [0, 2]
        """
        return json_values.values_of(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Alignment:
        """Make an alignment from the values that `to_dict` returned.

        Raises:
            ValueError: if a value is missing, or has another type or range than in `to_dict`.
        """
        return cls(**json_values.read(fields)._asdict())

    def to_json(self, path: PathLike | None = None, *, indent: int | None = None) -> str:
        """Write the whole alignment as JSON. `from_json` reads the same alignment again.

        JSON has all digits of the times. All other formats round them to the nearest millisecond, a half up.

        Args:
            path: file to write; None for no file. The file is written whole or not at all. (As for the other formats.)
            indent: number of spaces of indentation; None for one line.

        Returns:
            The text that is written. (As for the other formats.)
        """
        return _write(path, json_values.json_text(self.to_dict(), indent) + "\n")

    @classmethod
    def from_json(cls, source: PathLike) -> Alignment:
        """Read an alignment that `to_json` wrote.

        Args:
            source: the JSON itself, or the path of the file.

        Raises:
            ValueError: if it is not JSON, or not an alignment.
        """
        is_json = isinstance(source, str) and source.lstrip().startswith("{")
        text = str(source) if is_json else Path(source).read_text(encoding="utf-8")
        return cls.from_dict(json.loads(text))

    def to_ctm(
        self, path: PathLike | None = None, *, recording: str = "audio", channel: str = "1", level: Level | None = None
    ) -> str:
        """Write NIST's time-marked conversation format: recording, channel, start, duration, word, confidence.

        White space in a word becomes "_". A word of white space becomes "<space>", an empty word "<empty>".

        Args:
            path: file to write.
            recording: name of the recording, without white space.
            channel: its channel.
            level: "words" or "tokens"; None for words if there are any.

        Raises:
            ValueError: without `frame_duration`, for an unknown level, and for a name that CTM cannot hold.
        """
        return _write(path, formats.ctm(self, recording, channel, level))

    def to_textgrid(self, path: PathLike | None = None) -> str:
        """Write a Praat TextGrid in the long format: a tier of tokens, and tiers of lines and words if there are any.

        The gaps between the spans are intervals without text, so each tier fills the recording. If a frame is shorter
        than a millisecond, times are rounded to microseconds instead, so that no interval is empty.

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

        A new cue starts after a word that ends a sentence, after a pause, and where the cue would become too long. The
        cues show the whole text, including characters that were left out of the alignment.

        Words in scripts without spaces (Chinese, Japanese, Thai and similar) may be broken between tokens, wherever a
        line may be broken. A full cue ends after a comma if possible, else at the longest gap. Words of other scripts
        are broken only if they have more than 42 characters or last more than 6 s.

        SubRip has no escapes. A zero-width space (U+200B) follows characters that players would read as markup
        (``<i>``, ``{\an8}``) or as the times of a cue. Control characters become U+FFFD.

        Args:
            path: file to write.
            max_characters: most characters of a cue, unless one word has more.
            max_duration: longest duration of a cue in seconds, unless one word lasts longer. (In scripts without
                spaces: one token or grapheme.)
            max_gap: longest gap in seconds between two words of a cue. A gap within a word is a pause if it is longer
                than `max_gap` and than 3 times the usual gap within words, or longer than 2.5 times `max_gap`.
            level: as for `to_ctm`. Tokens are written without spaces between them. "lines" makes each line of the
                transcript a cue of any length.

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
        """Write WebVTT subtitles, which browsers show with ``<track>``.

        Args:
            path: as for `to_srt`.
            max_characters: as for `to_srt`.
            max_duration: as for `to_srt`.
            max_gap: as for `to_srt`.
            level: as for `to_srt`.
            word_times: whether to write the start of each word of a cue but the first (the format's cue timestamps), so
                that players can highlight it. In scripts without spaces each part of a word has its time.

        Raises:
            ImportError: if webvtt-py or regex is not installed: ``pip install ctckit[align]``.
            ValueError: as `to_srt`.
        """
        cues = subtitles.cues(self, max_characters, max_duration, max_gap, level)
        return _write(path, subtitles.vtt(cues, word_times=word_times))

    def to_dataframe(self, level: Level | None = None) -> pd.DataFrame:
        """Return a pandas data frame, one row per line, word or token.

        The columns are text, start, end, start_time, end_time, score and confidence. Tokens also have id and word, the
        index of their word. Words and tokens also have line, if the transcript has several. Unknown values are missing.

        Args:
            level: "lines", "words" or "tokens"; None for words if there are any.

        Raises:
            ImportError: if pandas is not installed.
            ValueError: for an unknown level.
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
        """Draw the alignment. The arguments are those of `ctckit.plot.alignment`."""
        from ctckit import plot  # noqa: PLC0415  # matplotlib is optional

        return plot.alignment(self, emissions, waveform=waveform, image=image, seconds=seconds, blank=blank, ax=ax)

    def __repr__(self) -> str:
        return table.table(self)


def _write(path: PathLike | None, text: str) -> str:
    if path is not None:
        write_whole(path, text)
    return text
