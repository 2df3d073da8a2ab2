"""The list of what there is to do: a manifest in JSON lines or Parquet, one item per line or row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ctckit.corpus.errors import CorpusError

__all__ = ["Item", "count_items", "read_manifest"]


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a manifest."""

    id: str
    """Its name, unlike any other in the manifest; by default the path of its emissions or audio, as it is written."""
    line: int
    """Its line or row, from 1."""
    emissions: str | None = None
    """Path of a (T, C) array in an .npy, .npz or .safetensors file; ``file.npz[name]`` names one array of several."""
    audio: str | None = None
    """Path of its audio: what a model makes emissions of if there are none, and what a page plays."""
    text: str | None = None
    """What is said or written in it."""
    tokens: tuple[str | int, ...] | None = None
    """The same as tokens of the vocabulary, or as classes."""
    frame_duration: float | None = None
    """Seconds per frame, if not the same for all items."""
    offset: float = 0.0
    """Where its first frame starts, in seconds."""
    fault: str | None = None
    """What is wrong with the line itself; None if nothing is."""


_FIELDS = tuple(field.name for field in fields(Item) if field.name not in ("line", "fault"))


def read_manifest(path: str | Path) -> Iterator[Item]:
    """Read a manifest, one item at a time.

    Args:
        path: a ``.parquet`` file, or a file of JSON lines with any other name. Columns are the fields of `Item`, all
            optional but for one of `emissions` and `audio`; others are ignored. Paths are relative to the manifest's
            folder.

    Yields:
        An `Item` per line, in order, empty lines aside. A line that is no JSON object, has a field of the wrong type,
        or the id of an earlier one, is an item with a `fault`, named ``line 12``.

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
    for line, values in _parquet_rows(path) if _is_parquet(path) else _json_lines(path):
        item = values if isinstance(values, Item) else _item(values, line, path.absolute().parent)
        if item.fault is None and item.id in seen:
            fault = f"the id {item.id!r} is also that of line {seen[item.id]}: give every item an id of its own"
            item = Item(f"line {line}", line, fault=fault)
        seen.setdefault(item.id, line)
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
    if _is_parquet(path):
        return int(_open_parquet(path).metadata.num_rows)
    with path.open("rb") as file:
        return sum(not line.isspace() for line in file)


def _must_be_a_file(path: Path) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CorpusError(f"the manifest {str(path)!r} {what}: name a file of JSON lines, or a .parquet file")


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            if raw.isspace():
                continue
            try:
                yield line, json.loads(raw)
            except ValueError as error:  # bad UTF-8 and bad JSON alike
                yield line, Item(f"line {line}", line, fault=f"it is no JSON: {error}")


def _open_parquet(path: Path) -> Any:
    try:
        from pyarrow import lib, parquet  # noqa: PLC0415  # optional
    except ImportError as error:
        raise CorpusError(
            f"{str(path)!r} is Parquet, which pyarrow reads, and it is not installed: pip install 'ctckit[corpus]'"
        ) from error
    try:
        return parquet.ParquetFile(path)
    except (lib.ArrowException, OSError) as error:
        raise CorpusError(f"{str(path)!r} is named as Parquet but cannot be read as such: {error}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    file = _open_parquet(path)
    columns = [name for name in file.schema_arrow.names if name in _FIELDS]
    line = 0
    for batch in file.iter_batches(batch_size=1024, columns=columns):
        for row in batch.to_pylist():
            line += 1
            yield line, row


def _item(values: Any, line: int, folder: Path) -> Item:
    try:
        return _checked(values, line, folder)
    except TypeError as error:
        return Item(f"line {line}", line, fault=str(error))


def _checked(values: Any, line: int, folder: Path) -> Item:
    if not isinstance(values, Mapping):
        raise TypeError(f"it is a JSON {type(values).__name__}, but must be an object with emissions, text and so on")
    given = {name: values[name] for name in _FIELDS if values.get(name) is not None}
    for name in ("emissions", "audio", "text"):
        if not isinstance(given.get(name, ""), str):
            raise TypeError(f"its {name} is a {type(given[name]).__name__}, but must be a string")
    for name in ("frame_duration", "offset"):
        if isinstance(given.get(name, 0.0), bool) or not isinstance(given.get(name, 0.0), (int, float)):
            raise TypeError(f"its {name} is a {type(given[name]).__name__}, but must be a number of seconds")
    if "tokens" in given:
        tokens = given["tokens"]
        if not isinstance(tokens, list) or not all(
            isinstance(token, (str, int)) and not isinstance(token, bool) for token in tokens
        ):
            raise TypeError("its tokens must be a list of strings or integers")
        given["tokens"] = tuple(tokens)
    if "emissions" not in given and "audio" not in given:
        raise TypeError(f"it has neither emissions nor audio (its fields: {', '.join(map(str, values)) or 'none'})")
    name = given.pop("id", given.get("emissions", given.get("audio")))
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise TypeError(f"its id is a {type(name).__name__}, but must be a string")
    for key in ("emissions", "audio"):
        if key in given:
            given[key] = str(folder / given[key])
    return Item(str(name), line, **given)
