"""CTM, Praat's TextGrid and pandas. The methods of `ctckit.Alignment` call these functions."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctckit.errors import ArgumentValueError
from ctckit.output.spans import AlignmentLike, Level, Row, need_seconds, rows_of, times_of
from ctckit.output.timestamps import decimal, milliseconds, rounded

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ctm", "dataframe", "printable", "recording_name", "textgrid"]

# Control characters other than white space, lone surrogates, and code points that are no characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    r"""Replace control characters and lone surrogates, which text files cannot hold, by U+FFFD.

    >>> printable("a\x00b\n")
    'a�b\n'
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def recording_name(name: str) -> str:
    """Turn any name into a valid name of a recording in CTM.

    >>> recording_name("a b"), recording_name(";;a"), recording_name("")
    ('a_b', '__a', 'audio')
    """
    return re.sub("^;;", "__", "_".join(printable(name).split())) or "audio"


def ctm(alignment: AlignmentLike, recording: str, channel: str, level: Level | None) -> str:
    """See `ctckit.Alignment.to_ctm`."""
    for name, value in (("recording", recording), ("channel", channel)):
        if not value or len(value.split()) != 1 or value != value.strip() or printable(value) != value:
            raise ArgumentValueError(
                f"{name} is {value!r}, but in CTM it must be one word, without white space or control characters"
            )
    if recording.startswith(";;"):
        raise ArgumentValueError(f"recording is {recording!r}, but in CTM a line that starts with ;; is a comment")
    if level == "lines":
        raise ArgumentValueError("level is 'lines', but CTM has one word per line: pass level='words' or 'tokens'")
    lines = []
    for row in rows_of(alignment, level):
        start, end = map(milliseconds, times_of(row, "CTM"))
        word = "_".join(printable(row.text).split()) or ("<space>" if row.text else "<empty>")
        confidence = "" if row.confidence is None else f" {row.confidence:.4f}"
        lines.append(f"{recording} {channel} {decimal(start)} {decimal(end - start)} {word}{confidence}\n")
    return "".join(lines)


def textgrid(alignment: AlignmentLike) -> str:
    """See `ctckit.Alignment.to_textgrid`."""
    try:
        from praatio import textgrid as praat  # noqa: PLC0415  # optional
    except ImportError as error:
        raise ImportError(
            "TextGrids are written with praatio, which is not installed: pip install ctckit[align]"
        ) from error
    duration = alignment.frame_duration
    if duration is None:
        raise ArgumentValueError(need_seconds("a TextGrid"))
    if alignment.offset < 0:
        raise ArgumentValueError(f"offset is {alignment.offset}, but a TextGrid has no time before 0")
    per_second = 1000 if duration >= 0.001 else 1_000_000  # no interval may be empty
    end = rounded(alignment.offset + alignment.frames * duration, per_second) / per_second
    grid = praat.Textgrid(0, end)
    levels: dict[str, Sequence[Row]] = {
        "lines": alignment.lines,
        "words": alignment.words,
        "tokens": alignment.tokens,
    }
    for name, rows in levels.items():
        if rows or name == "tokens":
            grid.addTier(praat.IntervalTier(name, _intervals(rows, per_second), 0, end))
    with tempfile.TemporaryDirectory() as folder:  # praatio writes only to files
        path = Path(folder) / "alignment.TextGrid"
        grid.save(str(path), format="long_textgrid", includeBlankSpaces=True, reportingMode="error")
        written = path.read_text(encoding="utf-8")
    # praatio writes 0.00005 as 5e-05, which it cannot read. No label starts a line.
    return re.sub(
        r"^( *x(?:min|max) = )(\S+e-\d+)", lambda match: f"{match[1]}{float(match[2]):.6f}", written, flags=re.MULTILINE
    )


def _intervals(rows: Sequence[Row], per_second: int) -> list[tuple[float, float, str]]:
    intervals = []
    for row in rows:
        if not len(row):
            continue
        start, end = (rounded(time, per_second) for time in times_of(row, "a TextGrid"))
        if start == end:
            raise ArgumentValueError(
                f"{row.text!r} lasts less than a microsecond, the shortest interval of a TextGrid: frame_duration is "
                f"in seconds"
            )
        # praatio reads an empty text as a gap, and strips white space at the ends.
        text = " ".join(printable(row.text).split()) or ("<space>" if row.text else "<empty>")
        intervals.append((start / per_second, end / per_second, text))
    return intervals


def dataframe(alignment: AlignmentLike, level: Level | None) -> pd.DataFrame:
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
    word_of = {id(token): number for number, word in enumerate(alignment.words) for token in word.tokens}
    line_of = {id(word): number for number, line in enumerate(alignment.lines) for word in line.words}
    indices: dict[str, list[int | None]] = {}
    if rows is alignment.tokens:
        columns["id"] = pd.Series([token.id for token in alignment.tokens], dtype="Int64")
        indices["word"] = [word_of.get(id(token)) for token in alignment.tokens]
        if alignment.lines:
            indices["line"] = [_line_of_token(alignment, word, line_of) for word in indices["word"]]
    elif rows is alignment.words and alignment.lines:
        indices["line"] = [line_of.get(id(word)) for word in alignment.words]
    for name, values in indices.items():
        columns[name] = pd.Series(values, dtype="Int64")
    return pd.DataFrame(columns)


def _line_of_token(alignment: AlignmentLike, word: int | None, line_of: dict[int, int]) -> int | None:
    return None if word is None else line_of.get(id(alignment.words[word]))
