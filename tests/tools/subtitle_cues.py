"""The cues of an alignment's subtitles, read by the library srt."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ctckit import Alignment


def cues(found: Alignment, **options: Any) -> list[tuple[str, float, float]]:
    """Text, start and end in seconds of each cue."""
    srt: Any = import_module("srt")
    return [
        (cue.content, round(cue.start.total_seconds(), 3), round(cue.end.total_seconds(), 3))
        for cue in srt.parse(found.to_srt(**options))
    ]


def texts(found: Alignment, **options: Any) -> list[str]:
    """The text of each cue."""
    return [text for text, _, _ in cues(found, **options)]
