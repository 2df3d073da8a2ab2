"""The rows of a manifest in Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ctckit.corpus.errors import CorpusError

__all__ = ["count_rows", "is_parquet", "read_rows"]

_BATCH = 1024  # rows in memory at a time


def is_parquet(path: Path) -> bool:
    """Return whether a file has a suffix of Parquet."""
    return path.suffix.lower() in (".parquet", ".pq")


def count_rows(path: Path) -> int:
    """Return the number of rows. Only the end of the file is read.

    Raises:
        CorpusError: if it cannot be read, or pyarrow is not installed.
    """
    return int(_open_parquet(path).metadata.num_rows)


def read_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[int, object]]:
    """Yield each row's number, from 1, and the row as a dict, or a TypeError that says why it cannot be read.

    A damaged row group yields one such error, and the next group is read.

    Args:
        path: path of the file.
        names: names of the columns to read.

    Raises:
        CorpusError: if the file cannot be read, has none of the columns, or pyarrow is not installed.
    """
    from pyarrow import lib  # noqa: PLC0415  # optional; _open_parquet says what to install

    file = _open_parquet(path)
    columns = [name for name in dict.fromkeys(file.schema_arrow.names) if name in names]
    if not columns:
        raise CorpusError(f"{str(path)!r} has none of the columns {', '.join(names)}")
    end = 0
    for group in range(file.num_row_groups):
        line, end = end, end + int(file.metadata.row_group(group).num_rows)
        try:
            for batch in file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=columns):
                for row in _rows(batch):
                    line += 1
                    yield line, row
        except (lib.ArrowException, OSError) as error:
            what = f"rows {line + 1} to {end} cannot be read" if line + 1 < end else "it cannot be read"
            yield line + 1, TypeError(f"{what}: {error}")


class _ParquetFile(Protocol):
    """The part of `pyarrow.parquet.ParquetFile` that is used here; pyarrow has no types."""

    metadata: Any
    schema_arrow: Any
    num_row_groups: int

    def iter_batches(self, *, batch_size: int, row_groups: list[int], columns: list[str]) -> Iterator[Any]: ...


def _open_parquet(path: Path) -> _ParquetFile:
    try:
        from pyarrow import lib, parquet  # noqa: PLC0415  # optional
    except ImportError as error:
        raise CorpusError(
            f"{str(path)!r} is Parquet, but pyarrow is not installed: pip install 'ctckit[corpus]'"
        ) from error
    try:
        file: _ParquetFile = parquet.ParquetFile(path)
    except (lib.ArrowException, OSError) as error:
        raise CorpusError(f"{str(path)!r} has the suffix of Parquet, but cannot be read as Parquet: {error}") from error
    return file


def _rows(batch: Any) -> list[object]:
    try:
        return list(batch.to_pylist())
    except Exception:  # noqa: BLE001  # one bad row (invalid UTF-8, a date out of range) fails the batch
        return [_row(batch.slice(index, 1)) for index in range(batch.num_rows)]


def _row(batch: Any) -> object:
    try:
        (row,) = batch.to_pylist()
    except Exception as error:  # noqa: BLE001  # any error of one row
        return TypeError(f"it cannot be read: {type(error).__name__}: {error}")
    found: object = row
    return found
