"""Scratch memory of the GPU kernels: its parts, and how they are handed to kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.tools.triton_setup import DEVICE, MARKS, launch
from tests.tools.triton_setup import scratch as memory

if TYPE_CHECKING:
    from ctckit.backends.triton.scratch import Sizes

pytestmark = MARKS

SIZES = {
    "one item": memory.Sizes(5, 1, 3, 2, 32, 8, False, True, torch.float32),
    "several chunks": memory.Sizes(50, 3, 7, 120, 32, 8, True, True, torch.float32),
    "many classes": memory.Sizes(13, 5, 1100, 15, 32, 8, False, True, torch.float64),
    "loss alone": memory.Sizes(17, 7, 50, 35, 32, 8, True, False, torch.float32),
    "no frames": memory.Sizes(0, 2, 4, 6, 32, 8, False, True, torch.float32),
}


def numbers(sizes: Sizes, segment: int) -> dict[str, tuple[torch.dtype, int]]:
    """The dtype and how many numbers each part must hold, from what kernels write."""
    T, N, C, M, chunk, block, chained, both, real = sizes
    kept = math.ceil(T / block) * 2 * 2 * (M + N) if both else 0
    return {
        "task_counter": (torch.int64, 1),
        "item_of_chunk": (torch.int32, M // chunk + N),
        "slot_of_class": (torch.int32, N * C if N * C > M + N else 0),
        "words": (torch.int64, 2 * (M // chunk) * T * 2 if chained else 0),
        "totals": (torch.int64, N * T if both else 0),
        "occupancy": (torch.int64, segment * min(N * C, M + N) if both else 0),
        "statuses": (torch.int32, N),
        "items": (torch.int64, N * 4),
        "labels": (torch.int32, M),
        "losses": (torch.float64, N),
        "fields": (real, N * T * 4),
        "top_classes": (torch.int32, N * T),
        "kept_m": (real, kept),
        "kept_e": (torch.int32, kept),
        "end_m": (torch.float64, 2 * N),
        "end_e": (torch.int32, 2 * N),
    }


@pytest.mark.parametrize("bytes_per_segment", [1, 1 << 28])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_parts_are_apart_and_hold_what_kernels_write(sizes: Sizes, bytes_per_segment: int) -> None:
    scratch = memory.Scratch(sizes, bytes_per_segment, torch.device(DEVICE))
    frames = math.ceil(sizes.T / sizes.block) * sizes.block
    assert scratch.segment == (frames if bytes_per_segment > 1 else min(frames, sizes.block))
    needed = numbers(sizes, scratch.segment)
    assert tuple(needed) == memory.Parts._fields
    end = scratch._memory.data_ptr()
    for name, (dtype, count) in needed.items():
        part = scratch.tensor(name)
        assert (part.dtype, part.numel()) == (dtype, count), name
        if count:
            assert part.data_ptr() >= end, name
            assert part.data_ptr() % memory.ALIGNMENT == scratch._memory.data_ptr() % memory.ALIGNMENT, name
            end = part.data_ptr() + part.nbytes
    assert end <= scratch._memory.data_ptr() + scratch._memory.nbytes


def test_what_must_start_as_zeros_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the memory held before; and nothing else is cleared."""
    empty = torch.empty

    def filled(*size: Any, **options: Any) -> torch.Tensor:
        return empty(*size, **options).fill_(-1)

    monkeypatch.setattr(torch, "empty", filled)
    scratch = memory.Scratch(SIZES["several chunks"], 1 << 28, torch.device(DEVICE))
    parts = {name: scratch.tensor(name) for name in memory.Parts._fields}
    zeros = [name for name, part in parts.items() if part.numel() and not part.count_nonzero()]
    assert zeros == ["task_counter", "item_of_chunk", "words", "totals", "occupancy"]


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_kernels_take_the_addresses_of_the_parts(sizes: Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "DIRECT", True)
    scratch = memory.Scratch(sizes, 1 << 28, torch.device(DEVICE))
    for name, part in scratch.parts._asdict().items():
        tensor = scratch.tensor(name)
        assert isinstance(part, launch.Address)
        assert part.dtype == tensor.dtype
        assert part == tensor.data_ptr() or tensor.numel() == 0
    x = torch.zeros(3, dtype=torch.bfloat16, device=DEVICE)
    assert launch.pointer(x) == x.data_ptr()
    assert launch.pointer(x).dtype == torch.bfloat16
