"""The last kernels, in Triton: rows of the gradient, or of class occupancy.

Two kernels write them, because occupancy has one of two forms (`Scratch.by_class`). `write_by_class` has it for each
class, and goes over tiles. `write_rows` has it for each label of the target, so a program owns whole rows: it writes
all classes as if the target had none of them, and then the target's classes over it, while the row is in the cache.

The gradient may overwrite the logits. What other threads overwrite is read before a barrier.

Both kernels compute a class with the same operations, so the result does not depend on the form, which follows from the
whole batch.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, RUF005, SIM108, SIM300

from __future__ import annotations

import triton
import triton.language as tl

from ctckit.backends.triton.rows import (
    FINITE,
    FIRST,
    FRAME_FIELDS,
    GRADIENT_OF_LOGITS,
    INVALID,
    NAN,
    OCCUPANCY,
    REST,
    TOP,
    load_item,
    multiples,
)
from ctckit.backends.triton.states import exp_below


@triton.jit
def frames_of(status, frames, end, MODE: tl.constexpr):
    """The frame before which rows have values, and the frame before which they are NaN. All other rows are 0."""
    known = tl.where(status == FINITE, tl.minimum(frames, end), 0)
    # If the loss is NaN, so is the result; but the gradient of an invalid item is 0.
    if MODE == OCCUPANCY:
        unknown = tl.where((status == NAN) | (status == INVALID), frames, 0)
    else:
        unknown = tl.where(status == NAN, frames, 0)
    return known, unknown


@triton.jit
def weight(N, S, MEAN: tl.constexpr, REAL: tl.constexpr):
    """The factor of an item in the reduction."""
    if MEAN:
        result = 1.0 / (N * tl.maximum(S, 1)).to(REAL)
    else:
        result = tl.full((), 1.0, REAL)
    return result


@triton.jit
def of_largest(of_class, total, rest, per_total, per_sum, REAL: tl.constexpr):
    """The gradient of a row's largest class: minus the sum of the others.

    For a confident model, 1 - 1 would lose all digits. The occupancies are integers, so their difference is exact.
    """
    return tl.fma((total - of_class).to(REAL), per_total, -(rest * per_sum))


@triton.jit
def of_class_with(of_class, per_total, softmax, MODE: tl.constexpr, REAL: tl.constexpr):
    """The result for a class with this occupancy that is not the largest."""
    # (Without the explicit fma, a compiler might choose one here and none there.)
    if MODE == OCCUPANCY:
        result = of_class.to(REAL) * per_total
    else:
        result = tl.fma(-of_class.to(REAL), per_total, softmax)
    return result


@triton.jit
def label_at(k, labels, slot_of_class, S, blank):
    """The classes at positions k of a target, and whether a position is the first of its class; the blank is last."""
    label = tl.load(labels + k, mask=k < S, other=blank)
    own = tl.load(slot_of_class + label, mask=k < S, other=0) == -k + FIRST
    return label, own | (k == S)


@triton.jit(
    do_not_specialize=[
        "stride_t",
        "stride_n",
        "out_stride_t",
        "out_stride_n",
        "begin",
        "end",
        "N",
        "T",
        "C",
        "M",
        "blank",
    ]
)
def write_rows(
    x,
    stride_t,
    stride_n,
    stride_c,
    out,
    out_stride_t,
    out_stride_n,
    out_stride_c,
    statuses,
    items,
    fields,
    top_classes,
    occupancy,
    totals,
    begin,
    end,
    N,
    T,
    C,
    labels,
    slot_of_class,
    M,
    blank,
    MODE: tl.constexpr,
    MEAN: tl.constexpr,
    REAL: tl.constexpr,
    ALIGN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TILES: tl.constexpr,
    LABELS: tl.constexpr,
):
    """Write frames begin..end, also those beyond an item's length, where occupancy has one slot per label.

    Rows are written in tiles of ROWS x COLUMNS, TILES at once; targets are read in steps of LABELS. Results of the
    target's classes take the place of their occupancies until the row is written.
    """
    C, stride_t, stride_n = multiples(C, stride_t, stride_n, ALIGN)
    _, out_stride_t, out_stride_n = multiples(C, out_stride_t, out_stride_n, ALIGN)
    n = (tl.program_id(0) % N).to(tl.int64)
    t = begin + (tl.program_id(0) // N).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    status = tl.load(statuses + n)
    frames, S, offset = load_item(items, n)
    known, unknown = frames_of(status, frames, end, MODE)
    active = t < known
    row = x + t * stride_t + n * stride_n
    to = out + t * out_stride_t + n * out_stride_n
    slot = occupancy + (t - begin) * (M.to(tl.int64) + N) + offset + n
    total = tl.load(totals + n * T + t, mask=active, other=1)
    factor = weight(N, S, MEAN, REAL)
    per_total = (factor / total.to(REAL))[:, None]
    fill = tl.where(t < unknown, float("nan"), tl.zeros((ROWS,), REAL))
    step = tl.arange(0, LABELS)
    S = tl.where(known > begin, S, -1)  # -1: no class has an occupancy, nor has the blank

    if MODE == GRADIENT_OF_LOGITS:
        frame = fields + (n * T + t) * FRAME_FIELDS
        top = tl.load(frame + TOP, mask=active, other=0.0)[:, None]
        rest = tl.load(frame + REST, mask=active, other=0.0)[:, None]
        winner = tl.load(top_classes + n * T + t, mask=active, other=-1)[:, None]
        per_sum = factor / (1.0 + rest)
        for first in range(0, S + 1, LABELS):
            k = first + step
            label, own = label_at(k, labels + offset, slot_of_class + n * C, S, blank)
            mask = active[:, None] & own[None, :]
            of_class = tl.load(slot[:, None] + k[None, :], mask=mask, other=0)
            v = tl.load(row[:, None] + label[None, :].to(tl.int64) * stride_c, mask=mask, other=-float("inf"))
            softmax = exp_below(v.to(REAL), top, x.dtype.element_ty) * per_sum
            value = of_class_with(of_class, per_total, softmax, MODE, REAL)
            largest = (label[None, :] == winner) & (of_class != 0)
            value = tl.where(largest, of_largest(of_class, total[:, None], rest, per_total, per_sum, REAL), value)
            if REAL == tl.float32:
                bits = value.to(tl.int32, bitcast=True).to(tl.int64)
            else:
                bits = value.to(tl.int64, bitcast=True)
            tl.store(slot[:, None] + k[None, :], bits, mask=mask)
        tl.debug_barrier()  # other threads overwrite the logits, and read the results
        # exp is 0 where nothing is loaded; 0 times NaN is NaN.
        per_sum_or_fill = tl.where(active[:, None], per_sum, fill[:, None])

    column = tl.arange(0, COLUMNS)
    for start in range(0, C, TILES * COLUMNS):
        values = ()
        for i in tl.static_range(TILES):
            c = (start + i * COLUMNS + column)[None, :]
            if MODE == GRADIENT_OF_LOGITS:
                mask = active[:, None] & (c < C)
                v = tl.load(row[:, None] + c.to(tl.int64) * stride_c, mask=mask, other=-float("inf"))
                values = values + (v,)
            else:
                values = values + (fill[:, None] + tl.zeros((ROWS, COLUMNS), REAL),)
        for i in tl.static_range(TILES):
            c = (start + i * COLUMNS + column)[None, :]
            value = values[i]
            if MODE == GRADIENT_OF_LOGITS:
                value = exp_below(value.to(REAL), top, x.dtype.element_ty) * per_sum_or_fill
            value = value.to(out.dtype.element_ty)
            tl.store(to[:, None] + c.to(tl.int64) * out_stride_c, value, mask=(t < end)[:, None] & (c < C))

    for first in range(0, S + 1, LABELS):
        # Threads overwrite what other threads have stored. (Within the loop, the barrier also keeps LLVM from unrolling
        # it, which would spill registers.)
        tl.debug_barrier()
        k = first + step
        label, own = label_at(k, labels + offset, slot_of_class + n * C, S, blank)
        mask = active[:, None] & own[None, :]
        value = tl.load(slot[:, None] + k[None, :], mask=mask, other=0)
        if MODE == GRADIENT_OF_LOGITS:
            if REAL == tl.float32:
                value = value.to(tl.int32).to(tl.float32, bitcast=True)
            else:
                value = value.to(tl.float64, bitcast=True)
        else:
            value = of_class_with(value, per_total, 0.0, MODE, REAL)
        value = value.to(out.dtype.element_ty)
        tl.store(to[:, None] + label[None, :].to(tl.int64) * out_stride_c, value, mask=mask)


@triton.jit(do_not_specialize=["stride_t", "stride_n", "out_stride_t", "out_stride_n", "begin", "end", "N", "T", "C"])
def write_by_class(
    x,
    stride_t,
    stride_n,
    stride_c,
    out,
    out_stride_t,
    out_stride_n,
    out_stride_c,
    statuses,
    items,
    fields,
    top_classes,
    occupancy,
    totals,
    begin,
    end,
    N,
    T,
    C,
    MODE: tl.constexpr,
    MEAN: tl.constexpr,
    REAL: tl.constexpr,
    ALIGN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write frames begin..end, also those beyond an item's length, where occupancy has one slot per class.

    Whatever a row's classes share is computed once for the row.
    """
    C, stride_t, stride_n = multiples(C, stride_t, stride_n, ALIGN)
    _, out_stride_t, out_stride_n = multiples(C, out_stride_t, out_stride_n, ALIGN)
    tile = tl.program_id(0)
    across = (C + COLUMNS - 1) // COLUMNS
    n = (tile // across % N).to(tl.int64)
    t = begin + (tile // across // N).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = (tile % across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    status = tl.load(statuses + n)
    frames, S, _ = load_item(items, n)
    known, unknown = frames_of(status, frames, end, MODE)
    active = t < known
    mask = active[:, None] & (c < C)

    slot = occupancy + ((t - begin) * N + n) * C
    of_class = tl.load(slot[:, None] + c, mask=mask, other=0)
    total = tl.load(totals + n * T + t, mask=active, other=1)
    factor = weight(N, S, MEAN, REAL)
    per_total = factor / total.to(REAL)
    fill = tl.where(t < unknown, float("nan"), tl.zeros((ROWS,), REAL))
    if MODE == GRADIENT_OF_LOGITS:
        frame = fields + (n * T + t) * FRAME_FIELDS
        top = tl.load(frame + TOP, mask=active, other=0.0)
        rest = tl.load(frame + REST, mask=active, other=0.0)
        winner = tl.load(top_classes + n * T + t, mask=active, other=-1)
        per_sum = factor / (1.0 + rest)
        of_winner = tl.load(slot + winner, mask=active, other=0)
        largest = of_largest(of_winner, total, rest, per_total, per_sum, REAL)
        winner = tl.where(of_winner != 0, winner, -1)
        row = x + t * stride_t + n * stride_n
        v = tl.load(row[:, None] + c.to(tl.int64) * stride_c, mask=mask, other=-float("inf")).to(REAL)
        # exp is 0 where nothing is loaded; 0 times NaN is NaN.
        softmax = exp_below(v, top[:, None], x.dtype.element_ty) * tl.where(active, per_sum, fill)[:, None]
        value = of_class_with(of_class, per_total[:, None], softmax, MODE, REAL)
        value = tl.where(c == winner[:, None], largest[:, None], value)
    else:
        value = of_class_with(of_class, per_total[:, None], fill[:, None], MODE, REAL)
        if MODE == OCCUPANCY:
            value += fill[:, None]
    to = out + t * out_stride_t + n * out_stride_n
    value = value.to(out.dtype.element_ty)
    tl.store(to[:, None] + c.to(tl.int64) * out_stride_c, value, mask=(t < end)[:, None] & (c < C))


@triton.jit(do_not_specialize=["stride_t", "stride_n", "N", "T", "C", "scale_stride"])
def scale_rows(
    x,
    stride_t,
    stride_n,
    stride_c,
    scale,
    scale_stride,
    N,
    T,
    C,
    ALIGN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ITEMS: tl.constexpr,
):
    """Multiply by factors in device memory, which are nearly always 1; then nothing else is touched.

    So the grid is a few programs per multiprocessor: each reads all factors first, ITEMS at a time.
    """
    C, stride_t, stride_n = multiples(C, stride_t, stride_n, ALIGN)
    others = 0
    for first in range(0, N, ITEMS):
        n = (first + tl.arange(0, ITEMS)).to(tl.int64)
        factors = tl.load(scale + n * scale_stride, mask=n < N, other=1)
        others += tl.sum((factors != 1).to(tl.int32))
    if others > 0:
        across = (C + COLUMNS - 1) // COLUMNS
        tiles = across.to(tl.int64) * N * ((T + ROWS - 1) // ROWS)
        for tile in range(tl.program_id(0).to(tl.int64), tiles, tl.num_programs(0)):
            n = tile // across % N
            factor = tl.load(scale + n * scale_stride)
            t = tile // across // N * ROWS + tl.arange(0, ROWS)
            c = (tile % across).to(tl.int32) * COLUMNS + tl.arange(0, COLUMNS)
            mask = (t < tl.where(factor != 1, T, 0))[:, None] & (c < C)[None, :]
            at = (x + t * stride_t + n * stride_n)[:, None] + c[None, :].to(tl.int64) * stride_c
            v = tl.load(at, mask=mask, other=0.0)
            if x.dtype.element_ty != tl.float64:
                product = v.to(tl.float32) * factor.to(tl.float32)
            else:
                product = v * factor
            tl.store(at, product.to(x.dtype.element_ty), mask=mask)
