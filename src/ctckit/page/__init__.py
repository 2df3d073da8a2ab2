"""A page that plays the audio and highlights each word as it is spoken.

The page is one HTML file with style, script, alignments and audio. Its content security policy allows only this style
and script, and no network. Without audio, the page runs on its own clock.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypedDict

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.files import write_whole
from ctckit.output.json_values import Fields
from ctckit.output.timestamps import rounded

__all__ = ["PageItem", "write_page"]

_SECONDS_PER_FRAME = 0.02  # of the page's own clock, for an alignment without times
_AUDIO_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".opus": "audio/ogg",
    ".ogg": "audio/ogg",
    ".m4a": "audio/mp4",
}


@dataclass(frozen=True, slots=True)
class PageItem:
    """One alignment on a page."""

    alignment: Mapping[str, Any]
    """As `ctckit.Alignment.to_dict` returns it."""
    name: str = "alignment"
    """Shown above it."""
    audio: str | Path | None = None
    """Path of the audio, in any format of browsers (WAV, MP3, FLAC, Ogg, M4A); None for no audio."""
    decoding: Mapping[str, Any] | None = None
    """The decoding that was aligned, as `ctckit.Decoding.to_dict` or `ctckit.corpus.DecodeTask` returns it. Its
    hypotheses are shown if there are several, and the reference if it has one. None for none."""


def write_page(path: str | Path, items: Iterable[PageItem], *, title: str = "Alignment") -> None:
    """Write alignments as one HTML page.

    A strip with the waveform is above the words of the transcript. The spoken word is highlighted and stays in the
    middle of the window. If the user scrolls, the page stays where it is; a button goes back to the spoken word. A
    click on a word goes to its start. The colour of a word shows its confidence. Words and tokens with a confidence
    below 50% also have a dotted underline, and screen readers call such words unsure.

    Keys: space plays and stops. The arrow keys go from word to word; in lines written from right to left, the left
    arrow goes forward. N goes to the next unsure word.

    Below the words of a decoding are its reference, with the error rates, and its hypotheses.

    Alignments from untrusted sources are safe: each value is checked, and no text can become markup or script.

    Args:
        path: file to write.
        items: alignments to show, one at a time. If there are several, the page has a list of their names. Their audio
            becomes part of the file, in base64 (4 bytes for 3).
        title: title of the page.

    Raises:
        ImportError: if jinja2 is not installed.
        FileNotFoundError: if the audio of an item does not exist.
        ValueError: if there is no item, or a value of an alignment is missing or of another type. The message names the
            item and the value.

    Example:
        >>> import pathlib, tempfile
        >>> words = [{"text": "hi", "start": 2, "end": 9, "confidence": 0.9, "start_time": 0.04, "end_time": 0.18}]
        >>> alignment = {
        ...     "text": "hi",
        ...     "words": words,
        ...     "tokens": [],
        ...     "frames": 12,
        ...     "frame_duration": 0.02,
        ...     "offset": 0.0,
        ... }
        >>> page = pathlib.Path(tempfile.mkdtemp()) / "page.html"
        >>> write_page(page, [PageItem(alignment, "greeting")])
        >>> "greeting" in page.read_text()
        True
    """
    try:
        import jinja2  # noqa: PLC0415  # optional
        from markupsafe import Markup  # noqa: PLC0415  # comes with jinja2
    except ImportError as error:
        raise ImportError("pages are made with jinja2, which is not installed: pip install 'ctckit[cli]'") from error
    shown = [_for_the_page(item) for item in items]
    if not shown:
        raise ValueError("there is nothing to show: items is empty")
    folder = resources.files("ctckit.page")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    # tojson escapes the data: "<", ">", "&" and "'" of a text do not reach the page.
    text = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8")).render(
        title=_encodable(str(title)),
        items=shown,
        style=Markup(style),  # noqa: S704  # from this package
        script=Markup(script),  # noqa: S704
        policy=_POLICY.format(style=_digest(style), script=_digest(script)),
    )
    write_whole(path, text)


# The browser may use this style and script, and images and audio that are in the file.
_POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; media-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _encodable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 does not have."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


class _Word(TypedDict):
    """A word on the page, in seconds."""

    text: str
    start: float
    end: float
    confidence: float | None
    tokens: list[list[str | float | None]]
    space: bool


class _Shown(TypedDict):
    """An item on the page, in seconds."""

    name: str
    words: list[_Word]
    lines: list[int]
    """The index of the first word of each line."""
    spaced: bool
    timed: bool
    step: float
    duration: float
    audio: str | None
    hypotheses: list[list[str | float | None]]
    """Text, score in nats and probability of each hypothesis, if there are several."""
    reference: list[str | float | None] | None
    """Text of the reference, word and character error rate."""


def _for_the_page(item: PageItem) -> _Shown:
    for name, value in (("name", item.name), ("alignment", item.alignment)):
        wanted = str if name == "name" else Mapping
        if not isinstance(value, wanted):
            raise ArgumentTypeError(
                f"the {name} of a PageItem is a {type(value).__name__}, but must be a {wanted.__name__}"
            )
    try:
        return _checked(item, Fields(item.alignment, "it"), Fields(item.decoding or {}, "its decoding"))
    except ArgumentValueError as error:
        raise ArgumentValueError(f"item {item.name!r} is no alignment that can be shown: {error}") from None


def _checked(item: PageItem, alignment: Fields, decoding: Fields) -> _Shown:
    frame_duration = alignment.maybe_number("frame_duration")
    if frame_duration is not None and frame_duration <= 0:
        raise ArgumentValueError(f"'frame_duration' is {frame_duration}, but must be positive")
    timed = frame_duration is not None
    offset = (alignment.maybe_number("offset") or 0.0) if timed else 0.0
    step = frame_duration if frame_duration is not None else _SECONDS_PER_FRAME
    tokens = alignment.rows("tokens")
    told_apart = alignment.rows("words") if alignment.has("words") else []
    rows = told_apart or tokens

    def seconds(frame: int) -> float:
        return offset + frame * step

    words: list[_Word] = []
    ends: int | None = None
    for row in rows:
        start, end = row.frames()
        own = tokens[slice(*row.range("tokens", len(tokens)))] if told_apart and row.has("tokens") else []
        members: list[list[str | float | None]] = [
            [token.text("text"), *map(seconds, token.frames()), token.confidence()] for token in own
        ]
        span = row.range("span", sys.maxsize) if row.has("span") else None
        word: _Word = {
            "text": row.text("text"),
            "start": seconds(start),
            "end": seconds(end),
            "confidence": row.confidence(),
            "tokens": members,
            "space": bool(told_apart) and (span is None or span[0] != ends),
        }
        ends = None if span is None else span[1]
        words.append(word)
    starts = [word["start"] for word in words]
    if starts != sorted(starts):
        raise ArgumentValueError("its words do not start one after the other")
    lines = [line.frames()[0] for line in alignment.rows("lines")] if alignment.has("lines") else []
    duration = seconds(alignment.whole("frames"))
    rounded(max([duration, *(word["end"] for word in words)]), 1)  # raises for times that no recording has
    if duration < offset:
        raise ArgumentValueError(f"'frames' is {alignment.whole('frames')}, but must not be negative")
    return {
        "name": item.name,
        "words": words,
        "lines": sorted({bisect_right(starts, seconds(line) - step / 2) for line in lines[1:]} - {0, len(words)}),
        "spaced": bool(told_apart),
        "timed": timed,
        "step": step,
        "duration": duration,
        "audio": None if item.audio is None else _data_address(Path(item.audio)),
        "hypotheses": [
            [row.text("text"), row.maybe_number("score"), row.confidence()]
            for row in (decoding.rows("nbest") if decoding.has("nbest") else ())
        ],
        "reference": _reference(decoding),
    }


def _reference(decoding: Fields) -> list[str | float | None] | None:
    if not decoding.has("reference"):
        return None
    reference = Fields(decoding.values["reference"], "the reference of its decoding")
    return [reference.text("text"), reference.maybe_number("wer"), reference.maybe_number("cer")]


def _data_address(path: Path) -> str:
    kind = _AUDIO_TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
