"""AlignmentLike of an alignment: tokens, words and lines, each with its frames, seconds, score and confidence.

Frames are counted from 0. The end of a span is the frame after its last, as in a slice. Seconds are
``offset + frame * frame_duration``. Scores are means of log-probabilities, in nats. A confidence is a probability: the
expected fraction of a span's frames that belong to the token (see `ctckit.align`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from ctckit.errors import ArgumentValueError

__all__ = [
    "AlignedLine",
    "AlignedToken",
    "AlignedWord",
    "AlignmentLike",
    "Level",
    "Row",
    "mean_of",
    "rows_of",
    "times_of",
]

Level: TypeAlias = Literal["lines", "words", "tokens"]


@dataclass(frozen=True, slots=True)
class AlignedToken:
    """A token of the transcript, and its span."""

    text: str
    """Its name in the vocabulary; for a wildcard, the characters that it stands for."""
    id: int | None
    """Its class; None for a wildcard."""
    start: int
    """Its first frame."""
    end: int
    """The frame after its last."""
    score: float
    """Mean over its frames of the log-probability of its class, in nats."""
    confidence: float | None = None
    """Expected fraction of its frames that belong to it, from 0 to 1; None if it was not requested."""
    start_time: float | None = None
    """Its start in seconds; None if the duration of a frame is not known."""
    end_time: float | None = None
    """Its end in seconds."""

    def __len__(self) -> int:
        """Return its duration in frames."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """A word of the transcript, and its span: from the start of its first token to the end of its last."""

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
    span: tuple[int, int] | None = None
    """Its first character in `Alignment.text`, and the one after its last. None for words of a row of tokens."""

    @property
    def start_time(self) -> float | None:
        """Its start in seconds; None if the duration of a frame is not known."""
        return self.tokens[0].start_time

    @property
    def end_time(self) -> float | None:
        """Its end in seconds."""
        return self.tokens[-1].end_time

    def __len__(self) -> int:
        """Return its duration in frames."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class AlignedLine:
    r"""A line of the transcript, and its span: from the start of its first word to the end of its last.

    Example:
        >>> import torch, ctckit
        >>> emissions = 9.0 * torch.eye(4)[[0, 2, 0, 1, 3, 3]]
        >>> alignment = ctckit.align(emissions, "a\nb", ["-", " ", "a", "b"], logits=True)
        >>> [(line.text, line.start, line.end) for line in alignment.lines]
        [('a', 1, 2), ('b', 4, 6)]
    """

    text: str
    """As it is in the transcript, without white space at its ends."""
    start: int
    """Its first frame."""
    end: int
    """The frame after its last."""
    score: float
    """Mean of its tokens' scores, weighted by their frames, in nats. Separators of words do not count."""
    confidence: float | None
    """Mean of its tokens' confidences, weighted by their frames."""
    words: tuple[AlignedWord, ...]
    """Its words, in order; empty if they are not known."""
    start_time: float | None = None
    """Its start in seconds; None if the duration of a frame is not known."""
    end_time: float | None = None
    """Its end in seconds."""

    def __len__(self) -> int:
        """Return its duration in frames."""
        return self.end - self.start


Row: TypeAlias = AlignedLine | AlignedWord | AlignedToken


class AlignmentLike(Protocol):
    """The fields of an alignment that writers of formats read."""

    @property
    def text(self) -> str:
        """The transcript."""

    @property
    def tokens(self) -> tuple[AlignedToken, ...]:
        """Its tokens, separators included."""

    @property
    def words(self) -> tuple[AlignedWord, ...]:
        """Its words; empty if they are not known."""

    @property
    def lines(self) -> tuple[AlignedLine, ...]:
        """Its lines; empty if there is one line."""

    @property
    def score(self) -> float:
        """Log-probability of the path."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """Words, and parts of words, that were left out."""

    @property
    def blank(self) -> int:
        """Class of the blank."""

    @property
    def frames(self) -> int:
        """Number of frames of the input."""

    @property
    def frame_duration(self) -> float | None:
        """Seconds per frame."""

    @property
    def offset(self) -> float:
        """Start of the first frame, in seconds."""


def mean_of(tokens: Sequence[AlignedToken]) -> tuple[float, float | None]:
    """Return the means of the tokens' scores and confidences, weighted by their frames."""
    frames = max(1, sum(map(len, tokens)))
    score = sum(len(token) * token.score for token in tokens) / frames
    if not tokens or tokens[0].confidence is None:
        return score, None
    return score, sum(len(token) * (token.confidence or 0.0) for token in tokens) / frames


def rows_of(alignment: AlignmentLike, level: Level | None) -> Sequence[Row]:
    """Return the rows of a level; for None the words, or the tokens if there are no words.

    A transcript of one line has empty `lines`. Its only line is made here.
    """
    if level not in (None, "lines", "words", "tokens"):
        raise ArgumentValueError(f"level is {level!r}, but must be 'lines', 'words', 'tokens' or None")
    if level == "words" and alignment.tokens and not alignment.words:
        raise ArgumentValueError(
            "level is 'words', but the alignment has no words: align a text, or name the word_separator, "
            "or pass level='tokens'"
        )
    if level == "lines":
        return alignment.lines or _only_line(alignment)
    return alignment.tokens if level == "tokens" or not alignment.words else alignment.words


def _only_line(alignment: AlignmentLike) -> tuple[AlignedLine, ...]:
    tokens = [token for word in alignment.words for token in word.tokens] or alignment.tokens
    if not tokens:
        return ()
    first, last = tokens[0], tokens[-1]
    places = (first.start, last.end, *mean_of(tokens))
    text = alignment.text.strip()
    return (AlignedLine(text, *places, alignment.words, first.start_time, last.end_time),)


def times_of(row: Row, what: str) -> tuple[float, float]:
    """Return start and end in seconds."""
    if row.start_time is None or row.end_time is None:
        raise ArgumentValueError(need_seconds(what))
    return row.start_time, row.end_time


def need_seconds(what: str) -> str:
    """Return the error message for an alignment without seconds."""
    return f"the alignment has no times, and {what} is in seconds: pass the frame_duration to align()"
