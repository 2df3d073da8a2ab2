"""From the path of a transcript to an `Alignment`: the spans of its tokens, words and lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ctckit.alignment.search import FramePath
from ctckit.output.alignment import Alignment
from ctckit.output.lines import Span, lines_of
from ctckit.output.spans import AlignedToken, AlignedWord, mean_of
from ctckit.text.transcript import Transcript

__all__ = ["TokenRun", "alignment_of", "alignment_of_runs", "runs_of"]


class TokenRun(NamedTuple):
    """The frames of a token."""

    piece: int
    """Its index in the transcript."""
    start: int
    """The first frame."""
    end: int
    """The frame after the last."""
    score: float
    """Mean of its frames' scores."""
    confidence: float | None
    """Mean of its frames' occupancy."""


def runs_of(path: FramePath) -> list[TokenRun]:
    """Return the runs of frames of a path's tokens, in order, without those of the blank."""
    frames = len(path.tokens)
    if not frames:
        return []
    changes = (path.tokens[1:] != path.tokens[:-1]).nonzero()[0]
    bounds = np.concatenate(((0,), changes + 1, (frames,)))
    starts, ends = bounds[:-1], bounds[1:]
    lengths = ends - starts
    means = np.add.reduceat(path.scores, starts) / lengths
    columns = [path.tokens[starts].tolist(), starts.tolist(), ends.tolist(), means.tolist()]
    if path.occupancy is None:
        columns.append([None] * len(starts))
    else:
        shares = np.add.reduceat(path.occupancy, starts) / lengths
        columns.append(np.minimum(np.maximum(shares, 0.0), 1.0).tolist())  # rounding errors may exceed the bounds
    return [TokenRun(*row) for row in zip(*columns, strict=True) if row[0] >= 0]


def alignment_of(
    transcript: Transcript, path: FramePath, blank: int, frame_duration: float | None, offset: float
) -> Alignment:
    """Make the alignment of a transcript from its path."""
    score = float(np.add.reduce(path.scores))
    return alignment_of_runs(
        transcript, runs_of(path), score, len(path.tokens), blank, frame_duration=frame_duration, offset=offset
    )


def alignment_of_runs(
    transcript: Transcript,
    runs: Sequence[TokenRun],
    score: float,
    frames: int,
    blank: int,
    *,
    frame_duration: float | None,
    offset: float = 0.0,
) -> Alignment:
    """Make the alignment of a transcript from the runs of its tokens.

    Args:
        transcript: the transcript.
        runs: the frames of its tokens.
        score: of all frames.
        frames: number of frames.
        blank: class of the blank.
        frame_duration: seconds per frame, or None.
        offset: start of the first frame in seconds.
    """
    tokens: list[AlignedToken] = []
    word_of: list[int | None] = []
    for run in runs:
        piece = transcript.pieces[run.piece]
        times: tuple[float, float] | tuple[None, None] = (None, None)
        if frame_duration is not None:
            times = (offset + run.start * frame_duration, offset + run.end * frame_duration)
        tokens.append(AlignedToken(piece.text, piece.id, run.start, run.end, run.score, run.confidence, *times))
        word_of.append(piece.word)
    words = _words(transcript, tokens, word_of)
    return Alignment(
        text=transcript.text,
        tokens=tuple(tokens),
        words=words,
        score=score,
        frames=frames,
        frame_duration=frame_duration,
        offset=offset,
        dropped=transcript.dropped,
        blank=blank,
        lines=lines_of(transcript.text, words, tokens),
    )


def _words(transcript: Transcript, tokens: list[AlignedToken], word_of: list[int | None]) -> tuple[AlignedWord, ...]:
    members: dict[int, list[AlignedToken]] = {}
    for token, word in zip(tokens, word_of, strict=True):
        if word is not None:
            members.setdefault(word, []).append(token)
    spans: list[Span | None] = [*transcript.spans] or [None] * len(transcript.words)
    return tuple(
        AlignedWord(transcript.words[word], group[0].start, group[-1].end, *mean_of(group), tuple(group), spans[word])
        for word, group in members.items()
    )
