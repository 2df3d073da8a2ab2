"""The manifest: a list of items in JSON lines or Parquet, one item per line or row."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ctckit.corpus.errors import CorpusError
from ctckit.corpus.parquet import count_rows, is_parquet, read_rows

__all__ = ["Item", "count_items", "read_manifest"]

_WHITE = b" \t\r\n"  # white space in JSON


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a manifest."""

    id: str
    """Its unique name; by default the path of its emissions or audio as given in the manifest."""
    line: int
    """Its line or row, from 1."""
    emissions: str | None = None
    """Path of a (T, C) array in an .npy, .npz or .safetensors file; ``file.npz[name]`` names one array of several."""
    audio: str | None = None
    """Path of its audio: the model's input if there are no emissions, and the sound of a page."""
    text: str | None = None
    """Its transcript as text."""
    tokens: tuple[str | int, ...] | None = None
    """Its transcript as tokens of the vocabulary, or as classes."""
    frame_duration: float | None = None
    """Seconds per frame, if it differs between items."""
    offset: float = 0.0
    """Start of its first frame, in seconds."""
    fault: str | None = None
    """Why the line is not a valid item; None if it is."""


_FIELDS = tuple(field.name for field in fields(Item) if field.name not in ("line", "fault"))


def read_manifest(path: str | Path) -> Iterator[Item]:
    """Read a manifest, one item at a time.

    Args:
        path: a ``.parquet`` file, or a file of JSON lines in UTF-8 with any other suffix. Its columns are the fields
            of `Item`. One of `emissions` and `audio` is needed, the others are optional. Other columns are ignored.
            Paths are relative to the manifest's folder.

    Yields:
        An `Item` per line, in order; empty lines are skipped. An invalid line is an item named ``line 12`` with a
        `fault`: it is not a JSON object, a field has the wrong type or an impossible value, or its id is not unique.

    Raises:
        CorpusError: if the file cannot be read.

    Example:
        >>> import pathlib, tempfile
        >>> manifest = pathlib.Path(tempfile.mkdtemp()) / "items.jsonl"
        >>> _ = manifest.write_text('{"id": "a", "emissions": "a.npy", "text": "hi"}')
        >>> [(item.id, item.text, item.fault) for item in read_manifest(manifest)]
        [('a', 'hi', None)]
    """
    path = Path(path)
    _must_be_a_file(path)
    seen: dict[str, int] = {}
    for line, values in read_rows(path, _FIELDS) if is_parquet(path) else _json_lines(path):
        item = _item(values, line, path.absolute().parent)
        if item.fault is None and item.id in seen:
            fault = f"the id {item.id!r} is also that of line {seen[item.id]}: give every item its own id"
            item = Item(f"line {line}", line, fault=fault)
        if item.fault is None:
            seen[item.id] = line
        yield item


def count_items(path: str | Path) -> int:
    """Count the items of a manifest, quickly.

    Args:
        path: as for `read_manifest`.

    Raises:
        CorpusError: if the file cannot be read.
    """
    path = Path(path)
    _must_be_a_file(path)
    return count_rows(path) if is_parquet(path) else sum(1 for _ in _full_lines(path))


def _must_be_a_file(path: Path) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not a file" if path.exists() else "does not exist"
        raise CorpusError(f"the manifest {str(path)!r} {what}: name a file of JSON lines, or a .parquet file")


def _full_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content, without white space at its ends, of each line that is not empty."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = raw
                if number == 1:
                    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                        raise CorpusError(f"the manifest {str(path)!r} is in UTF-16: save it in UTF-8")
                    line = raw.removeprefix(codecs.BOM_UTF8)
                if line := line.strip(_WHITE):
                    yield number, line
    except OSError as error:
        raise CorpusError(f"the manifest {str(path)!r} cannot be read: {error.strerror or error}") from error


def _json_lines(path: Path) -> Iterator[tuple[int, object]]:
    for number, line in _full_lines(path):
        try:
            yield number, json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:  # noqa: PERF203  # each line has its own error
            yield number, TypeError(f"it is not valid UTF-8: {error}")
        except RecursionError:
            yield number, TypeError("it is nested too deeply")
        except ValueError as error:  # invalid JSON, or a number with too many digits
            yield number, TypeError(f"it is not valid JSON: {error}")


def _item(values: object, line: int, folder: Path) -> Item:
    try:
        if isinstance(values, TypeError):
            raise values
        return _checked(values, line, folder)
    except TypeError as error:
        return Item(f"line {line}", line, fault=str(error))


def _checked(values: object, line: int, folder: Path) -> Item:
    if not isinstance(values, Mapping):
        raise TypeError(f"it is a JSON {type(values).__name__}, but must be an object with emissions, text, ...")
    given: dict[str, Any] = {name: values[name] for name in _FIELDS if values.get(name) is not None}
    for name in ("emissions", "audio", "text"):
        if name in given:
            _must_be_text(given[name], f"its {name}")
    for name in ("emissions", "audio"):
        if "\0" in given.get(name, ""):
            raise TypeError(f"its {name} has a NUL character, but a path cannot have one")
    for name in ("frame_duration", "offset"):
        if name in given:
            given[name] = _seconds(given[name], name)
    if "tokens" in given:
        given["tokens"] = _tokens(given["tokens"])
    if "emissions" not in given and "audio" not in given:
        raise TypeError(f"it has neither emissions nor audio (its fields: {_listed(values)})")
    name = given.pop("id", given.get("emissions", given.get("audio")))
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    _must_be_text(name, "its id")
    if not name:
        raise TypeError("its id is empty: leave it out, or give it a name")
    for key in ("emissions", "audio"):
        if key in given:
            given[key] = str(folder / given[key])
    return Item(name, line, **given)


def _must_be_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a {type(value).__name__}, but must be a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        raise TypeError(
            f"{what} has a lone surrogate (U+{code:04X}, at character {error.start}), which is not a character"
        ) from None


def _seconds(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"its {name} is a {type(value).__name__}, but must be a number of seconds")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or (name == "frame_duration" and seconds <= 0):
        kind = "positive, finite" if name == "frame_duration" else "finite"
        raise TypeError(f"its {name} is {seconds}, but must be a {kind} number of seconds")
    return seconds


def _tokens(values: object) -> tuple[str | int, ...]:
    if not isinstance(values, list) or not all(
        isinstance(token, (str, int)) and not isinstance(token, bool) for token in values
    ):
        raise TypeError("its tokens must be a list of strings or integers")
    for position, token in enumerate(values):
        if isinstance(token, str):
            _must_be_text(token, f"its token {position}")
        elif not -(2**63) <= token < 2**63:
            raise TypeError(
                f"its token {position} is a number of {token.bit_length()} bits, but a class has at most 63"
            )
    return tuple(values)


def _listed(values: Mapping[Any, Any]) -> str:
    names = [str(name)[:40] for name in list(values)[:8]]
    return (", ".join(names) + ", ..." * (len(values) > len(names))) or "none"
