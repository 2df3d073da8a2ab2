"""Alignments as plain values for JSON, and read again. The values may come from any program, so each is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from ctckit.errors import ArgumentValueError
from ctckit.output.spans import AlignedLine, AlignedToken, AlignedWord, AlignmentLike

__all__ = ["Fields", "Read", "json_text", "read", "values_of"]


_LARGEST = 2.0**53  # a float is exact for whole numbers up to here; no frame, time or score is larger


class Fields:
    """Reads the fields of one JSON object, and checks the type of each.

    >>> Fields({"start": "x"}, "words[3]").whole("start")
    Traceback (most recent call last):
    ctckit.errors.ArgumentValueError: words[3]: 'start' is 'x', but must be a whole number
    """

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, Mapping):
            raise ArgumentValueError(f"{where} is {_short(values)}, but must be an object with named fields")
        self.values: Mapping[str, Any] = values
        self.where = where

    def has(self, name: str) -> bool:
        """Return whether a field is present and not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """Read a text."""
        value = self._get(name)
        return value if isinstance(value, str) else self._fail(name, value, "a text")

    def number(self, name: str) -> float:
        """Read a finite number."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
            self._fail(name, value, "a finite number")
        return float(value)

    def whole(self, name: str) -> int:
        """Read a whole number."""
        value = self._get(name)
        is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST
        return int(value) if is_whole else self._fail(name, value, "a whole number")

    def frames(self) -> tuple[int, int]:
        """Read start and end, in frames."""
        start, end = self.whole("start"), self.whole("end")
        if not 0 <= start <= end:
            raise ArgumentValueError(
                f"{self.where}: it is from frame {start} to {end}, but must not end before it starts"
            )
        return start, end

    def maybe_number(self, name: str) -> float | None:
        """Read a finite number, or None."""
        return self.number(name) if self.has(name) else None

    def confidence(self) -> float | None:
        """Read a probability, or None."""
        value = self.maybe_number("confidence")
        if value is not None and not 0 <= value <= 1:
            self._fail("confidence", value, "from 0 to 1")
        return value

    def rows(self, name: str) -> list[Fields]:
        """Read a list of objects."""
        value = self._get(name)
        if not isinstance(value, (list, tuple)):
            self._fail(name, value, "a list")
        where = name if self.where == "it" else f"{self.where}, {name}"
        return [Fields(row, f"{where}[{number}]") for number, row in enumerate(value)]

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of texts."""
        value = self._get(name)
        is_list = isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)
        return tuple(value) if is_list else self._fail(name, value, "a list of texts")

    def range(self, name: str, count: int) -> tuple[int, int]:
        """Read a range of indices below `count`: the first, and the one after the last."""
        value = self._get(name)
        is_pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(index) is int for index in value)
        if not is_pair or not 0 <= value[0] <= value[1] <= count:
            self._fail(name, value, f"two numbers from 0 to {count}, the second not the smaller one")
        return value[0], value[1]

    def _get(self, name: str) -> Any:
        if name not in self.values:
            raise ArgumentValueError(f"{self.where}: {name!r} is missing")
        return self.values[name]

    def _fail(self, name: str, value: object, right: str) -> NoReturn:
        raise ArgumentValueError(f"{self.where}: {name!r} is {_short(value)}, but must be {right}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ------------------------------------------------------------------------------------------------------------- writing


def values_of(alignment: AlignmentLike) -> dict[str, Any]:
    """See `ctckit.Alignment.to_dict`."""
    token_at = {id(token): number for number, token in enumerate(alignment.tokens)}
    word_at = {id(word): number for number, word in enumerate(alignment.words)}
    words = []
    for word in alignment.words:
        row = _row(word)
        row["tokens"] = [token_at[id(word.tokens[0])], token_at[id(word.tokens[-1])] + 1]
        if word.span is not None:
            row["span"] = list(word.span)
        words.append(row)
    values: dict[str, Any] = {
        "text": alignment.text,
        "score": alignment.score,
        "frames": alignment.frames,
        "frame_duration": alignment.frame_duration,
        "offset": alignment.offset,
        "words": words,
        "tokens": [{name: getattr(token, name) for name in AlignedToken.__slots__} for token in alignment.tokens],
    }
    if alignment.lines:
        values["lines"] = []
        for line in alignment.lines:
            row = _row(line)
            row["words"] = [word_at[id(line.words[0])], word_at[id(line.words[-1])] + 1] if line.words else [0, 0]
            values["lines"].append(row)
    if alignment.dropped:
        values["dropped"] = list(alignment.dropped)
    if alignment.blank:
        values["blank"] = alignment.blank
    return values


def _row(row: AlignedWord | AlignedLine) -> dict[str, Any]:
    names = ("text", "start", "end", "score", "confidence", "start_time", "end_time")
    return {name: getattr(row, name) for name in names}


def json_text(values: Mapping[str, Any], indent: int | None) -> str:
    r"""Write JSON in readable characters. Lone surrogates, which UTF-8 cannot hold, are escaped.

    >>> print(json_text({"é": "\ud800"}, None))
    {"é": "\ud800"}
    """
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, indent=indent)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


# ------------------------------------------------------------------------------------------------------------- reading


class Read(NamedTuple):
    """The fields of an alignment."""

    text: str
    tokens: tuple[AlignedToken, ...]
    words: tuple[AlignedWord, ...]
    score: float
    frames: int
    frame_duration: float | None
    offset: float
    dropped: tuple[str, ...]
    blank: int
    lines: tuple[AlignedLine, ...]


def read(values: object) -> Read:
    """See `ctckit.Alignment.from_dict`."""
    try:
        whole = Fields(values, "it")
        tokens = tuple(map(_token, whole.rows("tokens")))
        text = whole.text("text")
        words = tuple(_word(fields, tokens, len(text)) for fields in whole.rows("words"))
        lines = tuple(_line(fields, words) for fields in whole.rows("lines")) if whole.has("lines") else ()
        return Read(
            text,
            tokens,
            words,
            whole.number("score"),
            whole.whole("frames"),
            whole.maybe_number("frame_duration"),
            whole.number("offset"),
            whole.texts("dropped") if whole.has("dropped") else (),
            whole.whole("blank") if whole.has("blank") else 0,
            lines,
        )
    except ArgumentValueError as error:
        raise ArgumentValueError(f"this is not an alignment as to_json writes it: {error}") from None


def _token(fields: Fields) -> AlignedToken:
    return AlignedToken(
        fields.text("text"),
        fields.whole("id") if fields.has("id") else None,
        *fields.frames(),
        fields.number("score"),
        fields.confidence(),
        fields.maybe_number("start_time"),
        fields.maybe_number("end_time"),
    )


def _word(fields: Fields, tokens: tuple[AlignedToken, ...], characters: int) -> AlignedWord:
    first, end = fields.range("tokens", len(tokens))
    if first == end:
        raise ArgumentValueError(f"{fields.where}: 'tokens' is {[first, end]}, but a word has at least one token")
    text, frames, score = fields.text("text"), fields.frames(), fields.number("score")
    span = fields.range("span", characters) if fields.has("span") else None
    return AlignedWord(text, *frames, score, fields.confidence(), tokens[first:end], span)


def _line(fields: Fields, words: tuple[AlignedWord, ...]) -> AlignedLine:
    first, end = fields.range("words", len(words))
    text, frames, score = fields.text("text"), fields.frames(), fields.number("score")
    times = fields.maybe_number("start_time"), fields.maybe_number("end_time")
    return AlignedLine(text, *frames, score, fields.confidence(), words[first:end], *times)
