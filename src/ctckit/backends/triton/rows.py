"""The kernels before and after forward-backward, in Triton: targets, rows of emissions, rows of the gradient.

Only `prepare` reads the caller's lengths and labels. It reads each number once and copies it to scratch memory; all
other kernels read the copy. So the kernels of a call agree on them, even if the caller's tensors change while the call
runs, on another stream or between two replays of a graph. Without the copy, a chunk could wait for a chunk that does
not exist, and an index could be out of bounds.

A row is the classes of one frame of one item. Kernels process tiles of ROWS frames by COLUMNS classes. Two kernels
touch every class: `sum_rows` reads the logits once before forward-backward; `write_rows` reads them again after it and
writes the gradient. The thread that reads an element writes it, so the gradient may overwrite the logits.

Launches over frames and items have one dimension, items fastest: NVIDIA limits the other dimensions to 65,535 programs.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, PLR0124, SIM108

from __future__ import annotations

import triton
import triton.language as tl

from ctckit.backends.triton.states import exp_of_difference, exponential

# Status of an item. Its gradient is computed (FINITE), 0 (INFINITE) or NaN (NAN). INVALID: loss NaN, gradient 0.
FINITE = tl.constexpr(0)
INFINITE = tl.constexpr(1)
NAN = tl.constexpr(2)
INVALID = tl.constexpr(3)

# `FRAME_FIELDS` numbers of each frame, side by side:
# - TOP: the largest emission; all others are relative to it;
# - BLANK_M, BLANK_E: mantissa and exponent of the blank's emission relative to TOP;
# - REST: the sum of exp(x - top) over all classes but the largest, so that a confident model's small rest keeps its
#   digits.
FRAME_FIELDS = tl.constexpr(4)
TOP = tl.constexpr(0)
BLANK_M = tl.constexpr(1)
BLANK_E = tl.constexpr(2)
REST = tl.constexpr(3)


# `ITEM_FIELDS` int64 of each item, side by side: its frames, its labels, the offset of its labels, and one unused.
# `prepare` clamps all three to their bounds, whatever the caller's tensors hold; an invalid item has 0 labels.
ITEM_FIELDS = tl.constexpr(4)


@triton.jit
def load_item(items, n):
    """Frames, labels and offset of item n, an int64."""
    at = items + n * ITEM_FIELDS
    return tl.load(at), tl.load(at + 1), tl.load(at + 2)


@triton.jit
def load_fields(fields, first, step, last, LANES: tl.constexpr, FRAMES_PER_BLOCK: tl.constexpr):
    """The fields of frames first, first + step, ..., side by side in the lanes; frames are clamped to 0..last."""
    lane = tl.arange(0, LANES)
    t = tl.minimum(tl.maximum(first + step * (lane // FRAME_FIELDS), 0), last)
    return tl.load(
        fields + t * FRAME_FIELDS + lane % FRAME_FIELDS, mask=lane < FRAMES_PER_BLOCK * FRAME_FIELDS, other=0.0
    )


@triton.jit
def field(values, u: tl.constexpr, WHICH: tl.constexpr):
    """One number of `load_fields` in all lanes: field WHICH of frame u."""
    return tl.gather(values, tl.arange(0, values.shape[0]) * 0 + (u * FRAME_FIELDS + WHICH), 0)


FIRST = tl.constexpr(0x7FFFFFFF)  # `slot_of_class` holds FIRST - (first position of the class), 0 if there is none

# Modes of `write_rows`.
GRADIENT_OF_LOGITS = tl.constexpr(0)
GRADIENT_OF_LOG_PROBS = tl.constexpr(1)
OCCUPANCY = tl.constexpr(2)

UNSPECIALISED = ["N", "T", "C", "M", "width", "blank"]


@triton.jit(do_not_specialize=UNSPECIALISED)
def prepare(
    callers_labels,
    callers_input_lengths,
    callers_target_lengths,
    statuses,
    items,
    labels,
    slot_of_class,
    item_of_chunk,
    N,
    T,
    C,
    M,
    width,
    blank,
    CONCATENATED: tl.constexpr,
    BY_CLASS: tl.constexpr,
    CHUNK: tl.constexpr,
    LABELS_PER_STEP: tl.constexpr,
):
    """Check item n, copy its lengths and labels, and lay out its chunks and slots. Invalid values are read only here.

    If the targets are concatenated, `callers_target_lengths` holds the running sums of the lengths, that is the end of
    each item's labels.

    Positions, boundaries and chunks of all items are packed. Item n has S + 1 positions from offset + n on, S // CHUNK
    boundaries between chunks from offset // CHUNK on, and S // CHUNK + 1 chunks from offset // CHUNK + n on.
    """
    n = tl.program_id(0).to(tl.int64)
    within = tl.arange(0, LABELS_PER_STEP)
    frames = tl.load(callers_input_lengths + n)
    S = tl.load(callers_target_lengths + n)
    offset = n * width
    if CONCATENATED:
        offset = tl.load(callers_target_lengths + n - 1, mask=n > 0, other=0)
        S -= offset
    bad = (frames < 0) | (frames > T) | (S < 0) | (width < S)
    if CONCATENATED:
        # If any length is impossible, or the sum is wrong, the labels cannot be assigned to items: all are invalid.
        bad = bad | (tl.load(callers_target_lengths + N - 1) != M)
        for i in range(0, N, LABELS_PER_STEP):
            at = i + within
            ends = tl.load(callers_target_lengths + at, mask=at < N, other=0)
            begins = tl.load(callers_target_lengths + at - 1, mask=(at < N) & (at > 0), other=0)
            bad = bad | (tl.min(ends - begins) < 0) | (tl.max(ends - begins) > M)
    S = tl.where(bad, 0, S)
    offset = tl.where(bad, 0, offset)

    wrong = 0
    repeats = 0
    for i in range(0, S, LABELS_PER_STEP):
        k = i + within
        inside = k < S
        label = tl.load(callers_labels + offset + k, mask=inside, other=0)
        known = (label >= 0) & (label < C) & (label != blank)
        wrong += tl.sum((inside & (known == 0)).to(tl.int32))
        tl.store(labels + offset + k, label.to(tl.int32), mask=inside)
        tl.debug_barrier()  # threads read values that other threads have stored
        before = tl.load(labels + offset + k - 1, mask=inside & (k > 0), other=-1)
        repeats += tl.sum((inside & (label == before)).to(tl.int32))
        if not BY_CLASS:
            first = (-k + FIRST).to(tl.int32)  # (Triton takes constants on the right only)
            tl.atomic_max(slot_of_class + n * C + label, first, mask=inside & known, sem="relaxed")
    bad = bad | (wrong > 0)
    feasible = S + repeats <= frames
    tl.store(statuses + n, tl.where(bad, INVALID, tl.where(feasible, FINITE, INFINITE)))
    tl.store(items + n * ITEM_FIELDS, tl.minimum(tl.maximum(frames, 0), T))
    tl.store(items + n * ITEM_FIELDS + 1, tl.where(bad, 0, S))
    tl.store(items + n * ITEM_FIELDS + 2, offset)
    if (bad == 0) & feasible:
        for i in range(0, S // CHUNK + 1, LABELS_PER_STEP):
            at = item_of_chunk + offset // CHUNK + n + i + within
            tl.store(at, (within * 0 + n + 1).to(tl.int32), mask=i + within <= S // CHUNK)


@triton.jit(do_not_specialize=["N", "T", "C", "to_blank"])
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
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """For each frame of logits: the largest, its class, and the sum of the exponentials of all others."""
    n = (tl.program_id(0) % N).to(tl.int64)
    begin = (tl.program_id(0) // N).to(tl.int64) * ROWS
    t = begin + tl.arange(0, ROWS)
    frames = tl.where(tl.load(statuses + n) == FINITE, tl.load(items + n * ITEM_FIELDS), 0)
    inside = t < frames
    row = x + t * stride_t + n * stride_n
    column = tl.arange(0, COLUMNS)

    # Each lane goes over its own classes. `rest` is the sum of exp(x - top) over all but the largest so far.
    top = tl.full((ROWS, COLUMNS), -float("inf"), REAL)
    rest = tl.zeros((ROWS, COLUMNS), REAL)
    top_class = tl.zeros((ROWS, COLUMNS), tl.int32)
    for start in range(0, tl.where(begin < frames, C, 0), COLUMNS):
        c = start + column
        mask = inside[:, None] & (c < C)[None, :]
        v = tl.load(row[:, None] + c[None, :].to(tl.int64) * stride_c, mask=mask, other=-float("inf")).to(REAL)
        higher = v > top
        larger, smaller = tl.where(higher, v, top), tl.where(higher, top, v)
        # Two classes at -inf add nothing; their difference would be NaN.
        factor = tl.where(smaller == -float("inf"), 0.0, exp_of_difference(smaller, larger, REAL))
        rest = tl.where(higher, (rest + tl.where(top == -float("inf"), 0.0, 1.0)) * factor, rest + factor)
        # A new largest adds the old one to `rest` and rescales it.
        top_class = tl.where(higher, c[None, :], top_class)
        top = larger
    highest = tl.max(top, 1)
    winner = tl.min(tl.where(top == highest[:, None], top_class, FIRST), 1)
    reference = tl.where(highest == -float("inf"), 0.0, highest)  # -inf: all classes of the frame are at -inf
    with_own = rest + tl.where((top_class == winner[:, None]) & (top == highest[:, None]), 0.0, 1.0)
    # A lane whose largest is -inf has rest 0 or NaN; a NaN must stay.
    factor = exp_of_difference(top, reference[:, None], REAL)
    total = tl.sum(tl.where(top == -float("inf"), rest, with_own * factor), 1)
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


@triton.jit(do_not_specialize=["begin", "end", "N", "T", "C", "M", "blank"])
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
    slot_of_class,
    occupancy,
    totals,
    begin,
    end,
    N,
    T,
    C,
    M,
    blank,
    MODE: tl.constexpr,
    MEAN: tl.constexpr,
    BY_CLASS: tl.constexpr,
    REAL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write frames begin..end of the gradient or the class occupancy, including frames beyond an item's length."""
    tile = tl.program_id(0)
    across = (C + COLUMNS - 1) // COLUMNS
    n = (tile // across % N).to(tl.int64)
    t = begin + (tile // across // N).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = (tile % across).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    status = tl.load(statuses + n)
    frames, S, offset = load_item(items, n)
    known = tl.where(status == FINITE, tl.minimum(frames, end), 0)  # (the interpreter takes no single bool in a mask)
    active = t < known
    mask = active[:, None] & (c < C)[None, :]

    if BY_CLASS:
        slot = n * C + c
        named = c < C
        slots = N.to(tl.int64) * C
    else:
        first = tl.load(slot_of_class + n * C + c, mask=c < C, other=0)
        slot = offset + n + tl.where(c == blank, S, -first + FIRST)
        named = (first > 0) | (c == blank)
        slots = M.to(tl.int64) + N
    of_class = tl.load(occupancy + (t - begin)[:, None] * slots + slot[None, :], mask=mask & named[None, :], other=0)
    total = tl.load(totals + n * T + t, mask=active, other=1)
    gamma = of_class.to(REAL) / total.to(REAL)[:, None]

    if MODE == GRADIENT_OF_LOGITS:
        at = (n * T + t) * FRAME_FIELDS
        top = tl.load(fields + at + TOP, mask=active, other=0.0)
        rest = tl.load(fields + at + REST, mask=active, other=0.0)
        top_class = tl.load(top_classes + n * T + t, mask=active, other=-1)
        v = tl.load(x + t[:, None] * stride_t + n * stride_n + c[None, :] * stride_c, mask=mask, other=0.0).to(REAL)
        softmax = exp_of_difference(tl.minimum(v, top[:, None]), top[:, None], REAL) / (1.0 + rest)[:, None]
        # The gradient sums to 0 over the classes, so the largest class gets minus the sum of the others: for a
        # confident model, 1 - 1 would lose all digits. The occupancies are integers, so their difference is exact.
        others = (total[:, None] - of_class).to(REAL) / total.to(REAL)[:, None] - (rest / (1.0 + rest))[:, None]
        value = tl.where(c[None, :] == top_class[:, None], others, softmax - gamma)
    elif MODE == GRADIENT_OF_LOG_PROBS:
        value = -gamma
    else:
        value = gamma
    if MEAN:
        value = value / (N * tl.maximum(S, 1)).to(REAL)
    # If the loss is NaN, so is the result in all of the item's frames; the gradient of an invalid item is 0.
    if MODE == OCCUPANCY:
        unknown = tl.where((status == NAN) | (status == INVALID), frames, 0)
    else:
        unknown = tl.where(status == NAN, frames, 0)
    value = tl.where(mask, value, tl.where((t < unknown)[:, None], float("nan"), 0.0))
    to = out + t[:, None] * out_stride_t + n * out_stride_n + c[None, :] * out_stride_c
    tl.store(to, value.to(out.dtype.element_ty), mask=(t < end)[:, None] & (c < C)[None, :])


@triton.jit(do_not_specialize=["N", "T", "C", "scale_stride"])
def scale_rows(
    x, stride_t, stride_n, stride_c, scale, scale_stride, N, T, C, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Multiply by a factor in device memory; a factor of 1 touches nothing."""
    tile = tl.program_id(0)
    across = (C + COLUMNS - 1) // COLUMNS
    n = (tile // across % N).to(tl.int64)
    factor = tl.load(scale + n * scale_stride)
    if factor != 1:
        t = (tile // across // N).to(tl.int64) * ROWS + tl.arange(0, ROWS)
        c = (tile % across).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
        mask = (t < T)[:, None] & (c < C)[None, :]
        at = x + t[:, None] * stride_t + n * stride_n + c[None, :] * stride_c
        v = tl.load(at, mask=mask, other=0.0)
        if x.dtype.element_ty != tl.float64:
            product = v.to(tl.float32) * factor.to(tl.float32)
        else:
            product = v * factor
        tl.store(at, product.to(x.dtype.element_ty), mask=mask)
