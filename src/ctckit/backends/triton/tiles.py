"""Which part of the rows a program of the row kernels takes: tiles of rows by columns, and how many warps.

The choice follows from the number of classes and the type alone, so results are the same bits for all strides. It keeps
16 to 128 bytes per thread on their way from memory. `tests/backends/triton/test_ahead_of_time.py` limits the registers.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from torch import Tensor

from ctckit.backends.triton.launch import cdiv, power_of_2

BYTES_PER_LOAD: Final = 16  # of a thread


class Tile(NamedTuple):
    """The tiles of a program."""

    rows: int
    columns: int
    tiles: int  # loaded at once
    warps: int

    def constants(self, align: int) -> dict[str, int]:
        """Return what the row kernels take, in order."""
        return {"ALIGN": align, "ROWS": self.rows, "COLUMNS": self.columns}


def of_sums(classes: int, itemsize: int, lanes: int) -> Tile:
    """Return the tiles of `sum_rows`: one row per warp, so that a row needs no barrier."""
    vector = lanes * BYTES_PER_LOAD // itemsize  # elements that a warp loads at once
    columns = _columns(classes, vector)
    # In vain the last round reads up to all its tiles but one. From 4 rounds of 8 on that is little.
    most = 8 if classes >= 32 * columns and itemsize < 8 else 4
    return Tile(4 * vector // columns, columns, _tiles(classes, columns, most), 4)


def of_rows(classes: int, itemsize: int, lanes: int) -> Tile:
    """Return the tiles of `write_rows`: one row per program if there are classes enough for its warps."""
    vector = lanes * BYTES_PER_LOAD // itemsize
    columns = _columns(classes, 4 * vector)
    # Not more rows: a tile of rows by labels takes many registers.
    return Tile(min(4 * vector // columns, 8), columns, _tiles(classes, columns, 4), 4)


def of_classes(classes: int, itemsize: int, lanes: int) -> Tile:
    """Return the tiles of `write_by_class`."""
    elements = 8 * lanes * BYTES_PER_LOAD // max(itemsize, 4)  # of 8 bytes of occupancy each
    columns = _columns(classes, 512)
    return Tile(max(1, elements // columns), columns, 1, 4)


def of_scale(classes: int, itemsize: int, lanes: int) -> Tile:
    """Return the tiles of `scale_rows`."""
    elements = 16 * lanes * BYTES_PER_LOAD // itemsize
    columns = _columns(classes, elements)
    return Tile(elements // columns, columns, 1, 8)


def labels_per_step(tile: Tile, lanes: int) -> int:
    """Return how many labels of a target `write_rows` takes at a time: one per thread, or more for few threads."""
    return max(lanes, tile.warps * lanes // tile.rows)


def alignment(*tensors: Tensor) -> int:
    """Return how many elements, a power of 2 up to 16 bytes, divide the strides of frames and items and the classes."""
    result = BYTES_PER_LOAD // tensors[0].element_size()
    for tensor in tensors:
        stride_t, stride_n, stride_c = tensor.stride()
        result = math.gcd(result, tensor.shape[2], stride_t, stride_n) if stride_c == 1 else 1
    return result


def strides(tensor: Tensor, align: int) -> tuple[int, int, int]:
    """Return the strides as the row kernels take them: those of frames and items divided by the alignment."""
    stride_t, stride_n, stride_c = tensor.stride()
    return stride_t // align, stride_n // align, stride_c


def _columns(classes: int, most: int) -> int:
    return min(max(16, power_of_2(classes)), most)


def _tiles(classes: int, columns: int, most: int) -> int:
    return min(most, power_of_2(cdiv(classes, columns)))
