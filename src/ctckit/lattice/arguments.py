"""The gate: checks types and shapes of every public function's arguments, and converts them to one form.

It has two halves: emissions with their lengths, and targets with theirs. Neither reads a value, so both work under
``torch.compile``, ``torch.export`` and ``torch.func``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ctckit.errors import ArgumentTypeError, ArgumentValueError
from ctckit.lattice.lengths import INTEGER_DTYPES, Lengths, as_int, lengths_of, not_dense
from ctckit.lattice.tensor_kinds import like, nested, plain, present, require_numbers
from ctckit.lattice.topology import PADDING, Lattice

__all__ = ["checked_blank", "gate", "gate_emissions", "gate_targets"]

_EMISSION_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def gate(
    emissions: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    batch_first: bool = False,
    name: str = "log_probs",
    needs_numbers: bool = False,
) -> tuple[Tensor, Lattice, bool]:
    """Check types and shapes of a public function's arguments, and convert them to one form: both halves of the gate.

    Args:
        emissions: (T, N, C), or (N, T, C) if `batch_first`, or (T, C) unbatched; floating-point, any strides.
        targets: integers on the device of the emissions: padded (N, S), concatenated (sum of lengths,), unbatched (S,).
        input_lengths: frames per item: integer tensor (N,) on any device, sequence of ints, int (one item), or None
            for all T.
        target_lengths: labels per item, likewise; None with padded targets: up to the first -100.
        blank: class of the blank.
        batch_first: whether the batch is the first dimension of `emissions`.
        name: the name of `emissions` in the caller's signature, for messages.
        needs_numbers: whether the caller reads memory by its address. If not, it calls only operators of torch, and
            also accepts tensors without memory of their own.

    Returns:
        The emissions as a (T, N, C) view, the lattice, and whether the input had a batch dimension.

    Raises:
        ArgumentTypeError: for a wrong type or dtype.
        ArgumentValueError: for a wrong dimension, size, device, or blank.
    """
    x, sizes, batched = _check_emissions(emissions, batch_first, name, needs_numbers)
    _, items, classes = sizes
    if type(blank) is not int or not 0 <= blank < classes:
        blank = checked_blank(blank, classes, name)
    labels, lengths, max_target = gate_targets(targets, target_lengths, items, batched, x, name, needs_numbers)
    inputs = _input_lengths(x, sizes, input_lengths, needs_numbers)
    if needs_numbers:
        require_numbers((x, inputs), name)
        x = present(x, name)
    return x, Lattice(labels, inputs, lengths, max_target, blank), batched


def gate_emissions(
    emissions: Tensor, input_lengths: Lengths, *, batch_first: bool = False, name: str, needs_numbers: bool = False
) -> tuple[Tensor, Tensor, bool]:
    """Check emissions and their lengths: the first half of `gate`, with the same arguments.

    Returns:
        The emissions as a (T, N, C) view; the frames of each item, (N,) int64 on the same device; and whether the input
        had a batch dimension.

    Raises:
        ArgumentTypeError: for a wrong type or dtype.
        ArgumentValueError: for a wrong dimension or size.
    """
    x, sizes, batched = _check_emissions(emissions, batch_first, name, needs_numbers)
    lengths = _input_lengths(x, sizes, input_lengths, needs_numbers)
    if needs_numbers:
        require_numbers((x, lengths), name)
        x = present(x, name)
    return x, lengths, batched


def gate_targets(
    targets: Tensor,
    target_lengths: Lengths,
    items: int,
    batched: bool,
    beside: Tensor | None,
    name: str,
    needs_numbers: bool = False,
) -> tuple[Tensor, Tensor, int]:
    """Check targets and their lengths: the second half of `gate`.

    Args:
        targets: as for `gate`.
        target_lengths: as for `gate`.
        items: N, the number of items.
        batched: whether there is a batch dimension.
        beside: the emissions; the targets must be on their device. None if there are no emissions.
        name: the name of the emissions in the caller's signature, for messages.
        needs_numbers: as for `gate`.

    Returns:
        The labels and the lengths as in `Lattice`, and its `max_target`.

    Raises:
        ArgumentTypeError: for a wrong type or dtype.
        ArgumentValueError: for a wrong dimension, size or device.
    """
    kind = Tensor if beside is None else type(beside)
    if type(targets) is not Tensor:
        targets = plain(targets, "targets", _as_targets(targets), needs_numbers=needs_numbers, beside=kind)
    device = targets.device if beside is None else beside.device
    width = _check_targets(targets, target_lengths, items, batched, device, name)
    if needs_numbers or target_lengths is None or targets.dtype != torch.int64:
        targets = present(targets, "targets")
        if targets.dtype != torch.int64:
            targets = targets.long()
    max_target = width
    if target_lengths is None:
        if targets.ndim == 1:
            targets = targets.unsqueeze(0)
        # All labels are counted, also those after a -100. Then a -100 between labels lies within the length and is
        # found as an invalid label, on every device.
        lengths = (targets != PADDING).sum(1)
    else:
        lengths, longest = lengths_of(target_lengths, "target_lengths", items, device, kind, needs_numbers)
        if longest is not None and targets.ndim == 1:
            max_target = max(0, min(longest, width))
    if beside is not None and kind is not Tensor:
        targets, lengths = like(targets, beside), like(lengths, beside)
    if needs_numbers:
        require_numbers((targets, lengths), "targets")
    return targets, lengths, max_target


def checked_blank(blank: int, classes: int, name: str) -> int:
    """Return the class of the blank as an int.

    Raises:
        ArgumentTypeError: if it is no int.
        ArgumentValueError: if it is no class of `name`.
    """
    blank = as_int(blank, "blank")
    if not 0 <= blank < classes:
        remedy = f"; for the last class pass blank={classes - 1}" if blank in (-1, classes) else ""
        raise ArgumentValueError(f"blank is {blank}, but {name} has classes 0 to {classes - 1}{remedy}")
    return blank


def _as_targets(targets: object) -> str:
    """Return advice, in Python, that converts a list to targets; it works for rows of any lengths."""
    rows = targets if isinstance(targets, (list, tuple)) else ()
    lengths = {len(row) if hasattr(row, "__len__") else None for row in rows}
    if len(lengths) < 2 and not any(isinstance(row, Tensor) for row in rows):
        return "use torch.tensor(targets)"
    return (
        "use torch.nn.utils.rnn.pad_sequence([torch.as_tensor(row, dtype=torch.int64) for row in targets], "
        f"batch_first=True, padding_value={PADDING}), and leave target_lengths out (None)"
    )


def _check_targets(
    targets: Tensor, target_lengths: Lengths, items: int, batched: bool, device: torch.device, name: str
) -> int:
    """Check the targets, and return the number of labels in a row."""
    if targets.dtype not in INTEGER_DTYPES:
        remedy = "targets.dequantize().long()" if targets.is_quantized else "targets.long()"
        raise ArgumentTypeError(
            f"targets has dtype {targets.dtype}, but labels are class indices and must be integers: use {remedy}"
        )
    if targets.device != device:
        raise ArgumentValueError(
            f"targets is on {targets.device}, but {name} is on {device}: move it with targets.to({name}.device)"
        )
    if targets.layout is not torch.strided:
        raise not_dense(targets, "targets")
    try:
        shape = targets.shape
    except RuntimeError:
        raise nested("targets") from None
    if len(shape) == 2:
        if shape[0] != items:
            have = f"a batch of {items}" if batched else "one item without a batch"
            raise ArgumentValueError(
                f"targets has shape {tuple(shape)}, that is {shape[0]} rows, but {name} is {have}: pass one row of "
                f"labels per item, or all labels concatenated in one dimension"
            )
    elif len(shape) != 1:
        raise ArgumentValueError(
            f"targets has shape {tuple(shape)}, but must be (N, S), padded, or one row of labels: concatenated, with "
            f"target_lengths, or the (S,) labels of one item without a batch"
        )
    elif target_lengths is None and batched:
        raise ArgumentValueError(
            f"target_lengths is None, but targets of shape {tuple(shape)} are concatenated and cannot be split without "
            f"lengths: pass target_lengths, or targets of shape (N, S) padded with {PADDING}"
        )
    return shape[-1]


def _check_emissions(
    emissions: Tensor, batch_first: bool, name: str, needs_numbers: bool
) -> tuple[Tensor, torch.Size, bool]:
    """Check the emissions, and return a (T, N, C) view, its sizes, and whether there is a batch dimension."""
    if type(emissions) is not Tensor:
        emissions = plain(emissions, name, "convert it with torch.as_tensor", needs_numbers=needs_numbers)
    if emissions.dtype not in _EMISSION_DTYPES:
        remedy = ".dequantize()" if emissions.is_quantized else ".real" if emissions.is_complex() else ".float()"
        raise ArgumentTypeError(
            f"{name} has dtype {emissions.dtype}, but must be float16, bfloat16, float32 or float64: "
            f"convert it, for example with {name}{remedy}"
        )
    if emissions.layout is not torch.strided:
        raise not_dense(emissions, name)
    try:
        shape = emissions.shape
    except RuntimeError:  # a nested tensor of strided layout has no shape
        raise nested(name) from None
    batched = len(shape) == 3
    if batched:
        emissions = emissions.transpose(0, 1) if batch_first else emissions
    elif len(shape) == 2:
        emissions = emissions.unsqueeze(1)
    else:
        batch = "(N, T, C)" if batch_first else "(T, N, C)"
        raise ArgumentValueError(
            f"{name} has shape {tuple(shape)}, but must be {batch}, or (T, C) for one item without a batch"
        )
    if shape[-1] == 0:
        raise ArgumentValueError(
            f"{name} has shape {tuple(shape)}, that is 0 classes, but there must be at least one, the blank"
        )
    return emissions, shape if batched and not batch_first else emissions.shape, batched


def _input_lengths(emissions: Tensor, sizes: torch.Size, input_lengths: Lengths, needs_numbers: bool) -> Tensor:
    """Return (N,) int64 on the device of the emissions (T, N, C)."""
    frames, items, _ = sizes
    kind = type(emissions)
    if input_lengths is None:
        lengths = torch.full((items,), frames, dtype=torch.int64, device=emissions.device)
    else:
        lengths, _ = lengths_of(input_lengths, "input_lengths", items, emissions.device, kind, needs_numbers)
    return lengths if kind is Tensor else like(lengths, emissions)
