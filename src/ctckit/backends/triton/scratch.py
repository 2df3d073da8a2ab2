"""Scratch memory of one call, through which its GPU kernels pass results to each other.

All of it is one tensor, because an allocation takes the host as long as a launch. The parts that must start as zeros
come first, so that one operation clears them. The size follows from shapes alone; docs/gpu.md gives the formula.
"""

from __future__ import annotations

import itertools
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from ctckit.backends.triton import launch
from ctckit.backends.triton.rows import FRAME_FIELDS, ITEM_FIELDS

ALIGNMENT: Final = 128
"""Parts start at multiples of so many bytes, a line of a cache.

Triton compiles a second variant of a kernel for addresses that are not multiples of 16.
"""


class Sizes(NamedTuple):
    """The sizes that scratch memory depends on."""

    T: int
    N: int
    C: int
    M: int  # labels of all items, including padding
    chunk: int  # positions per program
    block: int  # frames per block: states are kept once per block
    chained: bool  # whether any target may have more than one chunk
    both: bool  # whether the backward direction and the occupancy are computed too
    real: torch.dtype


class Parts(NamedTuple):
    """The parts of scratch memory, as kernels take them: addresses, or tensors in Triton's interpreter."""

    task_counter: Any  # (1,) int64
    item_of_chunk: Any  # (M // chunk + N,) int32
    slot_of_class: Any  # (N, C) int32, unless `Scratch.by_class`
    words: Any  # (2, M // chunk, T, 2) int64: messages between chunks, if any target has more than one
    totals: Any  # (N, T) int64: the sum of each frame's occupancies
    occupancy: Any  # (segment, slots) int64
    # What follows does not start as zeros.
    statuses: Any  # (N,) int32: see `ctckit.backends.triton.rows.FINITE`
    items: Any  # (N, 4) int64 of each item: see `ctckit.backends.triton.rows.ITEM_FIELDS`
    labels: Any  # (M,) int32: the copy of the labels that `prepare` makes
    losses: Any  # (N,) float64
    fields: Any  # (N, T, 4) of each frame: see `ctckit.backends.triton.rows.FRAME_FIELDS`
    top_classes: Any  # (N, T) int32: the largest class
    kept_m: Any  # (blocks, 2, 2, positions): states
    kept_e: Any  # the same in int32
    end_m: Any  # (N, 2) float64: the final blank and the final label
    end_e: Any  # the same in int32


_ZEROS: Final = Parts._fields.index("statuses")
_I32, _I64, _F64 = torch.int32, torch.int64, torch.float64
_DTYPES: Final = {
    real: (_I64, _I32, _I32, _I64, _I64, _I64, _I32, _I64, _I32, _F64, real, _I32, real, _I32, _F64, _I32)
    for real in (torch.float32, torch.float64)
}
_ADDRESSES: Final = {real: [launch.ADDRESSES[dtype] for dtype in dtypes] for real, dtypes in _DTYPES.items()}
_BYTES: Final = {real: [dtype.itemsize for dtype in dtypes] for real, dtypes in _DTYPES.items()}


class Scratch:
    """The scratch memory of a call."""

    def __init__(self, sizes: Sizes, bytes_per_segment: int, device: torch.device) -> None:
        """Allocate the memory, with zeros where kernels need them.

        Args:
            sizes: what it depends on.
            bytes_per_segment: how much the class occupancy may take; longer inputs take several rounds.
            device: where.

        Raises:
            ValueError: for 2^30 positions or more.
        """
        T, N, C, M, chunk, block, chained, both, self._real = sizes
        positions = M + N  # a position is a blank and a label; an item's last one is a blank alone
        if positions >= 1 << 30:
            raise ValueError(
                f"targets hold {M} labels, padding counted, of {N} items, but on a GPU both together must be fewer "
                f"than 2^30: split the batch"
            )
        # Occupancy has one slot per class. If that takes more memory, it has one per position of a label; equal labels
        # then share the slot of the first.
        self.by_class = positions >= N * C
        slots = N * C if self.by_class else positions
        blocks = -(-T // block)
        # Frames of occupancy at a time, in whole blocks, of which a grid's second dimension holds 65,535.
        self.segment = block * min(blocks, max(1, min(bytes_per_segment // (8 * slots * block), 65_535)))
        kept = both * blocks * 4 * positions
        self._counts = (
            1,
            M // chunk + N,
            0 if self.by_class else N * C,
            chained * 4 * (M // chunk) * T,
            both * N * T,
            both * self.segment * slots,
            N,
            N * ITEM_FIELDS.value,
            M,
            N,
            N * T * FRAME_FIELDS.value,
            N * T,
            kept,
            kept,
            N * 2,
            N * 2,
        )
        spans = [
            (count * size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
            for count, size in zip(self._counts, _BYTES[self._real], strict=True)
        ]
        *self._begins, end = itertools.accumulate(spans, initial=0)
        self._memory = torch.empty(end // 8, dtype=torch.int64, device=device)
        self._memory.as_strided((self._begins[_ZEROS] // 8,), (1,)).zero_()
        if launch.DIRECT:
            start = self._memory.data_ptr()
            kinds = _ADDRESSES[self._real]
            self.parts = Parts(*[kind(start + begin) for kind, begin in zip(kinds, self._begins, strict=True)])
        else:
            self.parts = Parts(*map(self.tensor, Parts._fields))

    def tensor(self, name: str) -> Tensor:
        """Return a part as a tensor of one dimension."""
        which = Parts._fields.index(name)
        dtype, count = _DTYPES[self._real][which], self._counts[which]
        words = -(-count * dtype.itemsize // 8)
        return self._memory.narrow(0, self._begins[which] // 8, words).view(dtype).narrow(0, 0, count)
