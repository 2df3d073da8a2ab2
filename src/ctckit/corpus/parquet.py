"""The rows of a manifest in Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ctckit.corpus.errors import CorpusError

__all__ = ["count_rows", "is_parquet", "read_rows"]

_BATCH = 1024  # rows that are in memory at a time


def is_parquet(path: Path) -> bool:
    """Return whether a file is named as Parquet is."""
    return path.suffix.lower() in (".parquet", ".pq")


def count_rows(path: Path) -> int:
    """Return the number of rows, from the end of the file alone.

    Raises:
        CorpusError: if it cannot be read, or pyarrow is not installed.
    """
    return int(_opened(path).metadata.num_rows)


def read_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[int, object]]:
    """Yield rows, numbered from 1: a dict each, or a TypeError that says why it cannot be read.

    Where a row group is damaged, that is one such error, and the next group is read.

    Args:
        path: of the file.
        names: of the columns that are wanted.

    Raises:
        CorpusError: if the file cannot be read, has none of the columns, or pyarrow is not installed.
    """
    from pyarrow import lib  # noqa: PLC0415  # optional; _opened says what to install

    file = _opened(path)
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
    """What is used of `pyarrow.parquet.ParquetFile`, which has no types."""

    metadata: Any
    schema_arrow: Any
    num_row_groups: int

    def iter_batches(self, *, batch_size: int, row_groups: list[int], columns: list[str]) -> Iterator[Any]: ...


def _opened(path: Path) -> _ParquetFile:
    try:
        from pyarrow import lib, parquet  # noqa: PLC0415  # optional
    except ImportError as error:
        raise CorpusError(
            f"{str(path)!r} is Parquet, which pyarrow reads, and it is not installed: pip install 'ctckit[corpus]'"
        ) from error
    try:
        file: _ParquetFile = parquet.ParquetFile(path)
    except (lib.ArrowException, OSError) as error:
        raise CorpusError(f"{str(path)!r} is named as Parquet but cannot be read as such: {error}") from error
    return file


def _rows(batch: Any) -> list[object]:
    try:
        return list(batch.to_pylist())
    except Exception:  # noqa: BLE001  # one row with bad UTF-8, or a date beyond Python's: the others are fine
        return [_row(batch.slice(index, 1)) for index in range(batch.num_rows)]


def _row(batch: Any) -> object:
    try:
        (row,) = batch.to_pylist()
    except Exception as error:  # noqa: BLE001  # whatever one row holds
        return TypeError(f"it cannot be read: {type(error).__name__}: {error}")
    found: object = row
    return found
