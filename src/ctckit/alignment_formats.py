"""Alignments for other programs: CTM, Praat's TextGrid, pandas. Called by the methods of `ctckit.Alignment`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ctckit.alignment_result import AlignedToken, AlignedWord, Alignment, Level

__all__ = ["ctm", "dataframe", "rows_of", "textgrid", "times_of"]

_NEED_SECONDS = (
    "the alignment has no times, and {what} is in seconds: give align() the frame_duration, seconds per frame"
)


def rows_of(alignment: Alignment, level: Level | None) -> Sequence[AlignedWord | AlignedToken]:
    """Return the words or the tokens; if None, the words unless there are none."""
    if level not in (None, "words", "tokens"):
        raise ValueError(f"level is {level!r}, but must be 'words', 'tokens' or None")
    if level == "words" and alignment.tokens and not alignment.words:
        raise ValueError(
            "level is 'words', but nothing in the transcript tells words apart: align a text, or name the "
            "word_separator, or pass level='tokens'"
        )
    return alignment.tokens if level == "tokens" or not alignment.words else alignment.words


def times_of(row: AlignedWord | AlignedToken, what: str) -> tuple[float, float]:
    """Return start and end in seconds."""
    if row.start_time is None or row.end_time is None:
        raise ValueError(_NEED_SECONDS.format(what=what))
    return row.start_time, row.end_time


def ctm(alignment: Alignment, recording: str, channel: str, level: Level | None) -> str:
    """See `ctckit.Alignment.to_ctm`."""
    for name, value in (("recording", recording), ("channel", channel)):
        if not value or len(value.split()) != 1 or value != value.strip():
            raise ValueError(f"{name} is {value!r}, but in CTM it must be one word without white space")
    lines = []
    for row in rows_of(alignment, level):
        start, end = times_of(row, "CTM")
        word = "_".join(row.text.split()) or "<space>"
        confidence = "" if row.confidence is None else f" {row.confidence:.4f}"
        lines.append(f"{recording} {channel} {start:.3f} {end - start:.3f} {word}{confidence}\n")
    return "".join(lines)


def textgrid(alignment: Alignment) -> str:
    """See `ctckit.Alignment.to_textgrid`."""
    try:
        from praatio import textgrid as praat  # noqa: PLC0415  # optional
    except ImportError as error:
        raise ImportError(
            "TextGrids are written with praatio, which is not installed: pip install ctckit[align]"
        ) from error
    duration = alignment.frame_duration
    if duration is None:
        raise ValueError(_NEED_SECONDS.format(what="a TextGrid"))
    if alignment.offset < 0:
        raise ValueError(f"offset is {alignment.offset}, but a TextGrid has no time before 0")
    end = alignment.offset + alignment.frames * duration
    grid = praat.Textgrid(0, end)
    tiers: dict[str, Sequence[AlignedWord | AlignedToken]] = {"words": alignment.words, "tokens": alignment.tokens}
    if not alignment.words:
        del tiers["words"]
    for name, rows in tiers.items():
        # praatio takes an empty text for a gap, and strips white space from its ends.
        entries = [(*times_of(row, "a TextGrid"), row.text.strip() or "<space>") for row in rows if len(row)]
        grid.addTier(praat.IntervalTier(name, entries, 0, end))
    with tempfile.TemporaryDirectory() as folder:  # it writes to files only
        path = Path(folder) / "alignment.TextGrid"
        grid.save(str(path), format="long_textgrid", includeBlankSpaces=True, reportingMode="error")
        return path.read_text(encoding="utf-8")


def dataframe(alignment: Alignment, level: Level | None) -> pd.DataFrame:
    """See `ctckit.Alignment.to_dataframe`."""
    try:
        import pandas as pd  # noqa: PLC0415  # optional
    except ImportError as error:
        raise ImportError("data frames are made with pandas, which is not installed: pip install pandas") from error
    rows = rows_of(alignment, level)
    kinds = {
        "text": "object",
        "start": "int64",
        "end": "int64",
        "start_time": "float64",
        "end_time": "float64",
        "score": "float64",
        "confidence": "float64",
    }
    columns: dict[str, Any] = {
        name: pd.Series([getattr(row, name) for row in rows], dtype=kind) for name, kind in kinds.items()
    }
    if rows is alignment.tokens:
        word_of = {id(token): number for number, word in enumerate(alignment.words) for token in word.tokens}
        columns["id"] = pd.Series([token.id for token in alignment.tokens], dtype="Int64")
        columns["word"] = pd.Series([word_of.get(id(token)) for token in alignment.tokens], dtype="Int64")
    return pd.DataFrame(columns)
