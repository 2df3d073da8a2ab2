"""The formats that `AlignTask` can write a file per item in: one table.

A new format is one entry here and one method of `ctckit.Alignment`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from ctckit.output.alignment import Alignment
from ctckit.output.formats import recording_name

__all__ = ["FORMATS", "FileFormat", "format_of_suffix", "named_format"]


class FileFormat(NamedTuple):
    """How an alignment is written to a file, and how such a file is recognised."""

    name: str
    """Its name as an option: ``--format textgrid``."""
    suffix: str
    """The suffix of its files, without the dot."""
    write: Callable[[Alignment, str], str]
    """From the alignment and the item's id to the content of the file."""
    matches: Callable[[str], object]
    """Whether the content of a file is in this format, judged by its beginning; ``--overwrite`` replaces only such
    files."""


def _is_alignment_json(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= {"frames", "tokens", "words"}


_TABLE = (
    FileFormat("json", "json", lambda alignment, _: alignment.to_json(), _is_alignment_json),
    FileFormat(
        "ctm",
        "ctm",
        lambda alignment, name: alignment.to_ctm(recording=recording_name(name)),
        re.compile(r"\s*(\S+ \S+ \d+\.\d+ \d+\.\d+ |$)").match,
    ),
    FileFormat(
        "textgrid",
        "TextGrid",
        lambda alignment, _: alignment.to_textgrid(),
        re.compile(r'\s*File type = "ooTextFile"').match,
    ),
    FileFormat(
        "srt", "srt", lambda alignment, _: alignment.to_srt(), re.compile(r"\s*(\d+\s+\d+:\d\d:\d\d,\d+ -->|$)").match
    ),
    FileFormat("vtt", "vtt", lambda alignment, _: alignment.to_vtt(), re.compile("WEBVTT").match),
)

FORMATS = tuple(entry.name for entry in _TABLE)
"""The names of the formats that `AlignTask` can write a file per item in."""

_BY_NAME = {entry.name: entry for entry in _TABLE}
_BY_SUFFIX = {entry.suffix: entry for entry in _TABLE}


def named_format(name: str) -> FileFormat:
    """Return the format of a name, one of `FORMATS`.

    >>> named_format("textgrid").suffix
    'TextGrid'
    """
    return _BY_NAME[name]


def format_of_suffix(suffix: str) -> FileFormat | None:
    """Return the format whose files have a suffix, without the dot; None if no format has it."""
    return _BY_SUFFIX.get(suffix)
