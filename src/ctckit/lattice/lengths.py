"""Lengths and other integers, in every form that callers may pass."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice.tensor_kinds import nested, plain, present

__all__ = ["INTEGER_DTYPES", "Lengths", "as_int", "lengths_of", "not_dense"]

Lengths: TypeAlias = Tensor | Sequence[int] | int | None

INTEGER_DTYPES = (
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
)


def lengths_of(
    lengths: Tensor | Sequence[int] | int,
    name: str,
    items: int,
    device: torch.device,
    beside: type[Tensor],
    needs_numbers: bool,
) -> tuple[Tensor, int | None]:
    """Convert lengths to one form.

    Args:
        lengths: in any accepted form.
        name: their name in the caller's signature.
        items: N, the number of items.
        device: the device of the emissions.
        beside: the type of the emissions.
        needs_numbers: as for `ctckit.lattice.gate`.

    Returns:
        (N,) int64 on the device, and the largest length, or None if only reading a tensor would give it.

    Raises:
        ArgumentTypeError: for a wrong type or dtype.
        ArgumentValueError: for a wrong shape or number of lengths, and for the device meta.
    """
    if isinstance(lengths, Tensor):
        if type(lengths) is not Tensor:
            lengths = plain(lengths, name, "", needs_numbers=needs_numbers, beside=beside)
        if lengths.layout is not torch.strided:
            raise not_dense(lengths, name)
        try:
            dtype, shape = lengths.dtype, lengths.shape
        except RuntimeError:
            raise nested(name) from None
        if dtype not in INTEGER_DTYPES:
            remedy = f"{name}.dequantize().long()" if lengths.is_quantized else f"{name}.long()"
            raise ArgumentTypeError(f"{name} has dtype {dtype}, but lengths must be integers: use {remedy}")
        if shape != (items,):
            if len(shape) > 0 or items != 1:
                raise ArgumentValueError(
                    f"{name} has shape {tuple(shape)}, but must hold one length per item, that is have shape ({items},)"
                )
            lengths = lengths.reshape(1)
        if lengths.device != device:
            # A copy from pageable memory to a GPU has read its source when the call returns, so it needs no sync. A
            # copy from pinned memory may read it later, after the caller has changed it, so the lengths are cloned
            # first. (A copy to the CPU must sync.)
            on_host = lengths.device.type == "cpu"
            if lengths.device.type == "meta":
                raise ArgumentValueError(
                    f"{name} is on the device meta, where tensors have no numbers, but the input is on {device}: pass "
                    f"lengths that have numbers"
                )
            if on_host and lengths.is_pinned():
                lengths = lengths.clone()
            lengths = lengths.to(device, torch.int64, non_blocking=on_host)
        elif needs_numbers or dtype != torch.int64:
            lengths = present(lengths, name)
            if dtype != torch.int64:
                lengths = lengths.long()
        return lengths, None
    if isinstance(lengths, (int, torch.SymInt)):
        lengths = (lengths,)
    elif not isinstance(lengths, (tuple, list)):
        raise ArgumentTypeError(
            f"{name} is a {_kind(lengths)}, but must be an integer tensor, a tuple or list of ints, an int or None: "
            f"convert it with torch.as_tensor"
        )
    if len(lengths) != items:
        raise ArgumentValueError(
            f"{name} holds {len(lengths)} length{'' if len(lengths) == 1 else 's'}, but there must be one per item, "
            f"that is {items}"
        )
    values = [x if type(x) is int else as_int(x, f"{name}[{item}]") for item, x in enumerate(lengths)]
    longest = max(values, default=None)
    if device.type == "cpu":
        return torch.tensor(values, dtype=torch.int64, device="cpu"), longest
    # (torch.tensor with device=device would sync.)
    return torch.tensor(values, dtype=torch.int64, device="cpu").to(device, non_blocking=True), longest


def as_int(value: Any, name: str) -> int:
    """Return an integer of any type as an int, or raise an ArgumentTypeError with its name."""
    if type(value) is int:
        return value
    if not isinstance(value, bool):
        if isinstance(value, torch.SymInt):
            return value  # type: ignore[return-value]  # an int while a graph is traced
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise ArgumentTypeError(f"{name} is {value!r}, a {_kind(value)}, but must be an int")


def not_dense(tensor: Tensor, name: str) -> ArgumentTypeError:
    """Make the error for a tensor of another layout than torch.strided."""
    if tensor.is_nested:
        return nested(name)
    return ArgumentTypeError(f"{name} has layout {tensor.layout}, but must be dense: convert it with {name}.to_dense()")


def _kind(value: object) -> str:
    return type(value).__name__
