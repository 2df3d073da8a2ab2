"""The memory that the GPU kernels of one call hand on to each other: how much of it, and which part is whose.

It follows from shapes alone; docs/gpu.md gives it as a formula.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from ctckit.backends.triton.rows import FIELDS, ITEM


class Sizes(NamedTuple):
    """What the memory of a call depends on."""

    T: int
    N: int
    C: int
    M: int  # labels of all items, padding counted
    chunk: int  # labels that one program walks
    block: int  # frames, after which states are kept
    chained: bool  # whether any target may have more than one chunk
    both: bool  # whether the recursion goes backward, too
    real: torch.dtype

    @property
    def positions(self) -> int:
        """Positions of all items: a blank and a label each, and the last blank of an item."""
        return self.M + self.N

    @property
    def by_class(self) -> bool:
        """Whether occupancy is added up per class or, where that takes more room, per position of a class's first."""
        return self.positions >= self.N * self.C

    @property
    def slots(self) -> int:
        """Places per frame at which occupancy is added up."""
        return self.N * self.C if self.by_class else self.positions


class Scratch(NamedTuple):
    """What is in the memory of a call."""

    kinds: Tensor  # (N,) int32: what became of each item
    items: Tensor  # (N, 4) int64 of each item: see `ctckit.backends.triton.rows.ITEM`
    labels: Tensor  # (M,) int32: the labels of the items, as `prepare` has read them
    losses: Tensor  # (N,) float64
    fields: Tensor  # (N, T, 4) of each frame: see `ctckit.backends.triton.rows.FIELDS`
    peaks: Tensor  # (N, T) int32: the largest class
    kept_m: Tensor  # (T / block, 2, 2, positions): states
    kept_e: Tensor  # the same in int32
    end_m: Tensor  # (N, 2) float64: the final blank and the final label
    end_e: Tensor
    item_of_chunk: Tensor  # (M // chunk + N,) int32
    ticket: Tensor  # (1,) int64
    words: Tensor  # (2, M // chunk, T, 2) int64: what chunks send to each other, if any target has more than one
    slot_of_class: Tensor  # (N, C) int32, if classes are many


def allocate(sizes: Sizes, device: torch.device) -> Scratch:
    """Take the memory, with zeros where kernels count on them.

    Raises:
        ValueError: if the positions are more than the kernels can count.
    """
    T, N, C, M, chunk, block, chained, both, real = sizes
    if sizes.positions >= 1 << 30:
        raise ValueError(
            f"targets hold {M} labels, padding counted, of {N} items, but on a GPU both together must be fewer than "
            f"2^30: split the batch"
        )
    kept = (triton.cdiv(T, block), 2, 2, sizes.positions) if both else (0,)
    # One tensor for all that must begin with zeros. Its parts have an even number of elements, for Triton compiles
    # apart for memory that does not start at a multiple of 16 bytes.
    parts = {
        "ticket": 1,
        "item_of_chunk": (M // chunk + N + 1) // 2,
        "words": chained * 2 * (M // chunk) * T * 2,
        "slot_of_class": 0 if sizes.by_class else (N * C + 1) // 2,
    }
    lengths = [size + size % 2 for size in parts.values()]
    zeros = torch.zeros(sum(lengths), dtype=torch.int64, device=device)
    ticket, item_of_chunk, words, slot_of_class = zeros.split_with_sizes(lengths)
    return Scratch(
        kinds=torch.empty(N, dtype=torch.int32, device=device),
        items=torch.empty(N, ITEM.value, dtype=torch.int64, device=device),
        labels=torch.empty(M, dtype=torch.int32, device=device),
        losses=torch.empty(N, dtype=torch.float64, device=device),
        fields=torch.empty(N, T, FIELDS.value, dtype=real, device=device),
        peaks=torch.empty(N, T, dtype=torch.int32, device=device),
        kept_m=torch.empty(kept, dtype=real, device=device),
        kept_e=torch.empty(kept, dtype=torch.int32, device=device),
        end_m=torch.empty(N, 2, dtype=torch.float64, device=device),
        end_e=torch.empty(N, 2, dtype=torch.int32, device=device),
        item_of_chunk=item_of_chunk.view(torch.int32),
        ticket=ticket,
        words=words,
        slot_of_class=slot_of_class.view(torch.int32),
    )
