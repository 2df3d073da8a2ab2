"""The first kernels over rows of emissions, in Triton: the largest of a row, and a sum.

`sum_rows` reads logits, each class once. Each lane goes over its own classes and keeps the largest so far and the sum
of the others' exponentials, relative to it. The lanes' results are added at the end. `top_of_rows` reads
log-probabilities, and of them only the classes of the target.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, PLR0124, RUF005

from __future__ import annotations

import triton
import triton.language as tl

from ctckit.backends.triton.rows import (
    BLANK_E,
    BLANK_M,
    FINITE,
    FIRST,
    FRAME_FIELDS,
    ITEM_FIELDS,
    REST,
    TOP,
    load_item,
    multiples,
)
from ctckit.backends.triton.states import exp_below, exp_of_difference, exponential


@triton.jit
def sum_of_columns(x):
    """The sum over the columns of a tile, neighbours first.

    `tl.sum` adds in an order that depends on which thread holds what, and that on the alignment. Here it does not, so
    the results are the same bits for all strides.
    """
    for _ in tl.static_range(16):
        if x.shape[1] > 1:
            x = tl.sum(tl.reshape(x, (x.shape[0], x.shape[1] // 2, 2)), 2)
    return tl.reshape(x, (x.shape[0],))


@triton.jit(do_not_specialize=["stride_t", "stride_n", "N", "T", "C", "to_blank"])
def sum_rows(
    x,
    stride_t,
    stride_n,
    stride_c,
    statuses,
    items,
    fields,
    top_classes,
    N,
    T,
    C,
    to_blank,
    REAL: tl.constexpr,
    ALIGN: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TILES: tl.constexpr,
):
    """For each frame of logits: the largest, its class, and the sum of the exponentials of all others.

    TILES tiles are loaded at once, so that the memory is busy, and share one exponential that rescales the sum.
    """
    C, stride_t, stride_n = multiples(C, stride_t, stride_n, ALIGN)
    KIND: tl.constexpr = x.dtype.element_ty
    n = (tl.program_id(0) % N).to(tl.int64)
    begin = (tl.program_id(0) // N).to(tl.int64) * ROWS
    t = begin + tl.arange(0, ROWS)
    frames = tl.where(tl.load(statuses + n) == FINITE, tl.load(items + n * ITEM_FIELDS), 0)
    inside = t < frames
    row = x + t * stride_t + n * stride_n
    column = tl.arange(0, COLUMNS)

    # `rest` is the sum of exp(x - top) over all of a lane's classes but the largest so far: of it and the next class,
    # the smaller one is added. So a largest that is much larger than the others does not hide them.
    top = tl.full((ROWS, COLUMNS), -float("inf"), REAL)
    rest = tl.zeros((ROWS, COLUMNS), REAL)
    top_start = tl.zeros((ROWS, COLUMNS), tl.int32)  # the class of the largest, without `column`
    for start in range(0, tl.where(begin < frames, C, 0), TILES * COLUMNS):
        values = ()
        for i in tl.static_range(TILES):
            c = start + i * COLUMNS + column
            mask = inside[:, None] & (c < C)[None, :]
            at = row[:, None] + c[None, :].to(tl.int64) * stride_c
            values = values + (tl.load(at, mask=mask, other=-float("inf")),)
        old = top
        smaller = ()
        for i in tl.static_range(TILES):
            v = values[i].to(REAL)
            top_start = tl.where(v > top, start + i * COLUMNS, top_start)
            smaller = smaller + (tl.minimum(v, top, propagate_nan=tl.PropagateNan.ALL),)
            top = tl.maximum(v, top)  # without the NaN, which `rest` keeps
        reference = tl.where(top == -float("inf"), 0.0, top)
        # (The fma is explicit, or a compiler might choose one for some strides only.)
        rest = tl.fma(rest, exp_below(old, reference, KIND), exp_below(smaller[0], reference, KIND))
        for i in tl.static_range(1, TILES):
            rest += exp_below(smaller[i], reference, KIND)

    highest = tl.max(top, 1)
    winner = tl.min(tl.where(top == highest[:, None], top_start + column[None, :], FIRST), 1)
    reference = tl.where(highest == -float("inf"), 0.0, highest)  # -inf: all classes of the frame are at -inf
    with_own = rest + tl.where(column[None, :] == (winner % COLUMNS)[:, None], 0.0, 1.0)
    factor = exp_of_difference(top, reference[:, None], REAL)
    # A lane whose largest is -inf has rest 0 or NaN; a NaN must stay.
    total = sum_of_columns(tl.where(top == -float("inf"), rest, with_own * factor))
    total = tl.where(highest == float("inf"), float("nan"), total)
    m, e = exponential(tl.load(row + to_blank, mask=inside, other=0.0).to(REAL), reference, REAL)
    at = n * T + t
    tl.store(fields + at * FRAME_FIELDS + TOP, reference, mask=inside)
    tl.store(fields + at * FRAME_FIELDS + BLANK_M, m, mask=inside)
    tl.store(fields + at * FRAME_FIELDS + BLANK_E, e.to(REAL), mask=inside)
    tl.store(fields + at * FRAME_FIELDS + REST, total, mask=inside)
    tl.store(top_classes + at, winner, mask=inside)


@triton.jit(do_not_specialize=["stride_t", "stride_n", "stride_c", "N", "T", "blank"])
def top_of_rows(
    x,
    stride_t,
    stride_n,
    stride_c,
    labels,
    statuses,
    items,
    fields,
    N,
    T,
    blank,
    REAL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """For each frame of log-probabilities: the largest of the blank and the target's labels. Reads no other class."""
    n = (tl.program_id(0) % N).to(tl.int64)
    begin = (tl.program_id(0) // N).to(tl.int64) * ROWS
    t = begin + tl.arange(0, ROWS)
    fine = tl.load(statuses + n) == FINITE
    frames, S, offset = load_item(items, n)
    inside = t < tl.where(fine, frames, 0)
    S = tl.where(fine, S, 0)
    row = x + t * stride_t + n * stride_n
    of_blank = tl.load(row + blank.to(tl.int64) * stride_c, mask=inside, other=0.0).to(REAL)
    top = tl.zeros((ROWS, COLUMNS), REAL) + of_blank[:, None]
    odd = top != top
    for start in range(0, S, COLUMNS):
        k = start + tl.arange(0, COLUMNS)
        label = tl.load(labels + offset + k, mask=k < S, other=blank).to(tl.int64)
        v = tl.load(row[:, None] + label[None, :] * stride_c, mask=inside[:, None], other=0.0).to(REAL)
        odd = odd | (v != v)
        top = tl.maximum(top, v)
    top = tl.max(top, 1)
    odd = (tl.max(odd.to(tl.int32), 1) > 0) | (top == float("inf"))
    top = tl.where((top == -float("inf")) | odd, 0.0, top)
    m, e = exponential(of_blank, top, REAL)
    at = (n * T + t) * FRAME_FIELDS
    tl.store(fields + at + TOP, top, mask=inside)
    tl.store(fields + at + BLANK_M, m, mask=inside)
    tl.store(fields + at + BLANK_E, e.to(REAL), mask=inside)
    tl.store(fields + at + REST, tl.where(odd, float("nan"), tl.zeros_like(top)), mask=inside)
