"""One self-contained page that plays the audio and shows each word as it is spoken.

The page is a single HTML file: style, script, alignments and audio are in it, and it asks no network for anything. It
works without audio too, with a clock of its own.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ctckit.files import write_whole

__all__ = ["PageItem", "write_page"]

_SECONDS_PER_FRAME = 0.02  # of an alignment that does not say: only how fast the page's own clock runs
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

    alignment: dict[str, Any]
    """As from `ctckit.Alignment.to_dict`."""
    name: str = "alignment"
    """Shown above it."""
    audio: str | Path | None = None
    """Path of what to play, in any format that browsers know (WAV, MP3, FLAC, Ogg, M4A); None for nothing."""


def write_page(path: str | Path, items: Iterable[PageItem], *, title: str = "Alignment") -> None:
    """Write alignments as one HTML page.

    Words are shown in a colour that tells their confidence, above a strip with the waveform; the word that is spoken is
    highlighted, and a click on a word goes there. Keys: space plays and stops, the arrows go from word to word, N to
    the next word of low confidence.

    Args:
        path: file to write.
        items: what to show; one at a time, chosen from a list if there are several. Audio becomes part of the file,
            a third larger than it is.
        title: of the page.

    Raises:
        ImportError: if jinja2 is not installed.
        FileNotFoundError: if there is no audio at an item's path.
        ValueError: if there is no item.

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
    except ImportError as error:
        raise ImportError("pages are made with jinja2, which is not installed: pip install 'ctckit[cli]'") from error
    shown = [_for_the_page(item) for item in items]
    if not shown:
        raise ValueError("there is nothing to show: no item has an alignment")
    folder = resources.files("ctckit") / "html"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    # What goes into the script is escaped by tojson, which leaves no "<", ">", "&" or "'" of any text.
    text = environment.get_template("page.html.j2").render(title=title, items=shown)
    write_whole(path, text)


def _for_the_page(item: PageItem) -> dict[str, Any]:
    alignment = item.alignment
    duration = alignment.get("frame_duration")
    offset = float(alignment.get("offset") or 0.0) if duration else 0.0
    step = float(duration or _SECONDS_PER_FRAME)
    rows = alignment.get("words") or alignment["tokens"]
    tokens = alignment["tokens"]
    words = []
    for row in rows:
        first, end = row.get("tokens") or (0, 0)
        words.append(
            {
                "text": row["text"],
                "start": offset + row["start"] * step,
                "end": offset + row["end"] * step,
                "confidence": row.get("confidence"),
                "tokens": [
                    [
                        token["text"],
                        offset + token["start"] * step,
                        offset + token["end"] * step,
                        token.get("confidence"),
                    ]
                    for token in tokens[first:end]
                ],
            }
        )
    return {
        "name": item.name,
        "words": words,
        "spaced": bool(alignment.get("words")),
        "timed": duration is not None,
        "step": step,
        "duration": offset + alignment["frames"] * step,
        "audio": None if item.audio is None else _data_address(Path(item.audio)),
    }


def _data_address(path: Path) -> str:
    kind = _AUDIO_TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
