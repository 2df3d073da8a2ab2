"""A fuzz target: for any bytes in a manifest, each line is an item or a fault, and no line ends a run."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import math
import tempfile
from pathlib import Path
from typing import Any

from ctckit import corpus
from ctckit.corpus.faults_file import FaultsFile
from ctckit.corpus.results import result_line

_MEMORY = Path("/dev/shm")  # noqa: S108  # files in memory, if there is such a folder, are faster
_FOLDER = Path(tempfile.mkdtemp(prefix="ctckit-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
_MANIFEST = _FOLDER / "items.jsonl"
_PARQUET = _FOLDER / "items.parquet"
_WHITE = b" \t\r\n"  # white space in JSON
_TASKS = (
    corpus.CheckTask(vocabulary="tests.tools.corpora:TOKENS"),
    corpus.LossTask(vocabulary="tests.tools.corpora:TOKENS", unknown="skip"),
)


def one(data: bytes) -> None:
    """Read a manifest with these bytes. After a first byte ``P`` they are the columns and rows of a Parquet file."""
    if data[:1] == b"P":
        _parquet(data[1:])
        return
    _MANIFEST.write_bytes(data)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        _is_refused(_MANIFEST, "UTF-16")
        return
    items = _checked_items(_MANIFEST)
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for item in items:
        line = lines[item.line - 1]
        assert line.strip(_WHITE), f"line {item.line} is empty, and an item"
        if item.fault is None:
            given = json.loads(line.decode("utf-8-sig"))
            assert item.text == given.get("text")
            assert item.tokens is None or list(item.tokens) == given["tokens"]
    full = [number for number, line in enumerate(lines, 1) if line.strip(_WHITE)]
    assert [item.line for item in items] == full, "lines are left out"


def _is_refused(path: Path, why: str) -> None:
    try:
        list(corpus.read_manifest(path))
    except corpus.CorpusError as error:
        assert why in str(error)  # noqa: PT017  # no pytest here
    else:
        raise AssertionError(f"a manifest is read in spite of {why}")


def _checked_items(path: Path) -> list[corpus.Item]:
    items = list(corpus.read_manifest(path))
    assert corpus.count_items(path) == len(items)
    good = [item.id for item in items if item.fault is None]
    assert len(set(good)) == len(good), "two good items have one id"
    for item in items:
        _check(item)
        with contextlib.redirect_stdout(io.StringIO()):
            for task in _TASKS:
                _check_outcome(task(item))
    return items


def _check(item: corpus.Item) -> None:
    assert isinstance(item.id, str)
    for text in (item.id, item.fault, item.text, item.emissions, item.audio, *(item.tokens or ())):
        if isinstance(text, str):
            assert item.fault is None or text.encode()
    if item.fault is not None:
        assert item.fault.encode().strip()
        return
    assert item.id.encode(), "an empty id"
    assert (item.emissions or item.audio) is not None
    assert item.frame_duration is None or 0 < item.frame_duration < math.inf
    assert math.isfinite(item.offset)
    for token in item.tokens or ():
        assert type(token) in (str, int)


def _check_outcome(outcome: corpus.Outcome) -> None:
    """The lines of an item in results and errors can be written and read again."""
    assert (outcome.fault is None) != (outcome.result is None)
    if outcome.result is not None:
        assert json.loads(result_line(outcome, "digest"))["id"] == outcome.id
        return
    path = _FOLDER / "errors.jsonl"
    faults = FaultsFile(path)
    faults.write(outcome)
    faults.finish()
    faults.close()
    (line,) = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert json.loads(line)["kind"]


_KINDS = ("string", "int64", "float64", "bool", "binary", "list<string>", "list<int64>", "null", "float32", "struct")
_COLUMNS = ("id", "emissions", "audio", "text", "tokens", "frame_duration", "offset", "speaker")


def _parquet(data: bytes) -> None:
    """Make a table: two bytes per column are its name and its type; the rest are the values."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return
    width = data[0] % 5 + 1 if data else 1
    heads, body = data[1 : 2 * width + 1], data[2 * width + 1 :]
    columns: dict[str, Any] = {}
    rows = min(len(body) // 8 + 1, 8)
    for index in range(len(heads) // 2):
        name = _COLUMNS[heads[2 * index] % len(_COLUMNS)]
        kind = _KINDS[heads[2 * index + 1] % len(_KINDS)]
        cells = [body[8 * row : 8 * row + 8] for row in range(rows)]
        columns[name] = pa.array([_value(kind, cell) for cell in cells], type=_type(pa, kind))
    if not columns:
        return
    parquet.write_table(pa.table(columns), _PARQUET)
    if columns.keys() == {"speaker"}:
        _is_refused(_PARQUET, "none of the columns")
        return
    assert len(_checked_items(_PARQUET)) == rows


def _type(pa: Any, kind: str) -> Any:
    if kind.startswith("list"):
        return pa.list_(getattr(pa, kind[5:-1])())
    if kind == "struct":
        return pa.struct([("a", pa.int64())])
    return getattr(pa, kind if kind != "bool" else "bool_")()


def _value(kind: str, cell: bytes) -> Any:
    import numpy as np

    if not cell or cell[0] == 0:
        return None
    number = int.from_bytes(cell, "little", signed=True) % 2**62
    text = cell.decode("utf-8", errors="ignore").replace("\x00", "")
    padded = (cell + bytes(8))[:8]
    return {
        "string": text,
        "int64": number,
        "float64": float(np.frombuffer(padded, np.float64)[0]),
        "float32": float(np.frombuffer(padded[:4], np.float32)[0]),
        "bool": bool(cell[0] & 1),
        "binary": cell,
        "list<string>": list(text),
        "list<int64>": list(cell),
        "null": None,
        "struct": {"a": number},
    }[kind]
