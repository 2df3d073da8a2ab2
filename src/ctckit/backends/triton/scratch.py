"""Scratch memory of one call, through which its GPU kernels pass results to each other.

Its size follows from shapes alone; docs/gpu.md gives the formula.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from ctckit.backends.triton.rows import FRAME_FIELDS, ITEM_FIELDS


class Sizes(NamedTuple):
    """The sizes that scratch memory depends on."""

    T: int
    N: int
    C: int
    M: int  # labels of all items, including padding
    chunk: int  # positions per program
    block: int  # frames per block: states are kept once per block
    chained: bool  # whether any target may have more than one chunk
    both: bool  # whether the backward direction is computed too
    real: torch.dtype

    @property
    def positions(self) -> int:
        """Positions of all items. A position is a blank and a label; an item's last one is a blank alone."""
        return self.M + self.N

    @property
    def by_class(self) -> bool:
        """Whether occupancy has one slot per class. If that takes more memory, it has one per position of a label.

        Equal labels then share the slot of the first.
        """
        return self.positions >= self.N * self.C

    @property
    def slots(self) -> int:
        """Occupancy sums per frame, of all items."""
        return self.N * self.C if self.by_class else self.positions


class Scratch(NamedTuple):
    """The tensors of a call's scratch memory."""

    statuses: Tensor  # (N,) int32: see `ctckit.backends.triton.rows.FINITE`
    items: Tensor  # (N, 4) int64 of each item: see `ctckit.backends.triton.rows.ITEM_FIELDS`
    labels: Tensor  # (M,) int32: the copy of the labels that `prepare` makes
    losses: Tensor  # (N,) float64
    fields: Tensor  # (N, T, 4) of each frame: see `ctckit.backends.triton.rows.FRAME_FIELDS`
    top_classes: Tensor  # (N, T) int32: the largest class
    kept_m: Tensor  # (T / block, 2, 2, positions): states
    kept_e: Tensor  # the same in int32
    end_m: Tensor  # (N, 2) float64: the final blank and the final label
    end_e: Tensor
    item_of_chunk: Tensor  # (M // chunk + N,) int32
    task_counter: Tensor  # (1,) int64
    words: Tensor  # (2, M // chunk, T, 2) int64: messages between chunks, if any target has more than one
    slot_of_class: Tensor  # (N, C) int32, unless `Sizes.by_class`


def allocate(sizes: Sizes, device: torch.device) -> Scratch:
    """Allocate the memory, with zeros where kernels need them.

    Raises:
        ValueError: for 2^30 positions or more.
    """
    T, N, C, M, chunk, block, chained, both, real = sizes
    if sizes.positions >= 1 << 30:
        raise ValueError(
            f"targets hold {M} labels, padding counted, of {N} items, but on a GPU both together must be fewer than "
            f"2^30: split the batch"
        )
    kept = (triton.cdiv(T, block), 2, 2, sizes.positions) if both else (0,)
    # One tensor holds all parts that must start as zeros. Each part has an even number of elements, because Triton
    # compiles a second variant for addresses that are not multiples of 16 bytes.
    parts = {
        "task_counter": 1,
        "item_of_chunk": (M // chunk + N + 1) // 2,
        "words": chained * 2 * (M // chunk) * T * 2,
        "slot_of_class": 0 if sizes.by_class else (N * C + 1) // 2,
    }
    lengths = [size + size % 2 for size in parts.values()]
    zeros = torch.zeros(sum(lengths), dtype=torch.int64, device=device)
    task_counter, item_of_chunk, words, slot_of_class = zeros.split_with_sizes(lengths)
    return Scratch(
        statuses=torch.empty(N, dtype=torch.int32, device=device),
        items=torch.empty(N, ITEM_FIELDS.value, dtype=torch.int64, device=device),
        labels=torch.empty(M, dtype=torch.int32, device=device),
        losses=torch.empty(N, dtype=torch.float64, device=device),
        fields=torch.empty(N, T, FRAME_FIELDS.value, dtype=real, device=device),
        top_classes=torch.empty(N, T, dtype=torch.int32, device=device),
        kept_m=torch.empty(kept, dtype=real, device=device),
        kept_e=torch.empty(kept, dtype=torch.int32, device=device),
        end_m=torch.empty(N, 2, dtype=torch.float64, device=device),
        end_e=torch.empty(N, 2, dtype=torch.int32, device=device),
        item_of_chunk=item_of_chunk.view(torch.int32),
        task_counter=task_counter,
        words=words,
        slot_of_class=slot_of_class.view(torch.int32),
    )
