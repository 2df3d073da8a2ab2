"""What comes before and after the recursion, in Triton: one item's target, the emissions' rows, the gradient's rows.

The caller's lengths and labels are read by `prepare` alone, each number once for all that follows from it: `prepare`
copies them to scratch memory, and all other kernels read the copy. So the kernels of a call agree on them even if the
caller's tensors change while the call runs, on another stream or between two replays of a graph. If they did not agree,
a chunk could wait for a chunk that does not exist, and an index could leave its memory.

Rows are read and written in tiles of ROWS frames of one item by COLUMNS classes. The kernels that touch every class are
two: `sum_rows` reads the logits once before the recursion, `write_rows` reads them once more after it and writes the
gradient, each element by the thread that has read it, so that the gradient may be written over the logits.

Launches over frames and items have one dimension, items fastest: the others end at 65,535 programs on NVIDIA.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, PLR0124, SIM108

from __future__ import annotations

import triton
import triton.language as tl

from ctckit.backends.triton.states import exp_of_difference, exponential

# What an item turned out to be: its gradient is computed, or 0, or NaN. (`INVALID`: NaN loss, gradient 0.)
FINE = tl.constexpr(0)
INFINITE = tl.constexpr(1)
NAN = tl.constexpr(2)
INVALID = tl.constexpr(3)

# What is known of a frame, `FIELDS` numbers side by side: the largest emission ("top", which the others are relative
# to), the blank's emission relative to it as mantissa and exponent, and the sum of the classes' exp(x - top) but for
# the largest itself ("rest": so a confident model's small rest keeps its digits).
FIELDS = tl.constexpr(4)
TOP = tl.constexpr(0)
BLANK_M = tl.constexpr(1)
BLANK_E = tl.constexpr(2)
REST = tl.constexpr(3)


# What `prepare` has read of an item, `ITEM` int64 side by side: its frames, its labels, and where its labels begin. All
# three are within bounds, whatever the caller's tensors hold; an invalid item has 0 labels.
ITEM = tl.constexpr(4)


@triton.jit
def load_item(items, n):
    """Frames, labels and offset of item n, an int64."""
    at = items + n * ITEM
    return tl.load(at), tl.load(at + 1), tl.load(at + 2)


@triton.jit
def load_fields(fields, first, step, last, LANES: tl.constexpr, FRAMES: tl.constexpr):
    """The fields of frames first, first + step, ..., side by side in the lanes; beyond `last` those of `last`."""
    lane = tl.arange(0, LANES)
    t = tl.minimum(tl.maximum(first + step * (lane // FIELDS), 0), last)
    return tl.load(fields + t * FIELDS + lane % FIELDS, mask=lane < FRAMES * FIELDS, other=0.0)


@triton.jit
def field(values, u: tl.constexpr, WHICH: tl.constexpr):
    """One number of `load_fields` in all lanes: field WHICH of frame u."""
    return tl.gather(values, tl.arange(0, values.shape[0]) * 0 + (u * FIELDS + WHICH), 0)


FIRST = tl.constexpr(0x7FFFFFFF)  # `slot_of_class` holds FIRST - (first position of the class), 0 if there is none

# What `write_rows` writes.
GRADIENT_OF_LOGITS = tl.constexpr(0)
GRADIENT_OF_LOG_PROBS = tl.constexpr(1)
OCCUPANCY = tl.constexpr(2)

UNSPECIALISED = ["N", "T", "C", "M", "width", "blank"]


@triton.jit(do_not_specialize=UNSPECIALISED)
def prepare(
    callers_labels,
    callers_input_lengths,
    callers_target_lengths,
    kinds,
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
    BLOCK: tl.constexpr,
):
    """Judge item n, copy what it consists of, and lay out its chunks and slots. What is invalid is read nowhere else.

    If the targets are concatenated, `callers_target_lengths` holds the running sums of the lengths: where each item's
    labels end.

    What is kept per position of a target is packed: item n has S + 1 positions from offset + n on, S // CHUNK
    boundaries between chunks from offset // CHUNK on, and S // CHUNK + 1 chunks from offset // CHUNK + n on.
    """
    n = tl.program_id(0).to(tl.int64)
    within = tl.arange(0, BLOCK)
    frames = tl.load(callers_input_lengths + n)
    S = tl.load(callers_target_lengths + n)
    offset = n * width
    if CONCATENATED:
        offset = tl.load(callers_target_lengths + n - 1, mask=n > 0, other=0)
        S -= offset
    bad = (frames < 0) | (frames > T) | (S < 0) | (width < S)
    if CONCATENATED:
        # Nobody can tell whose labels are whose unless all lengths are possible and add up.
        bad = bad | (tl.load(callers_target_lengths + N - 1) != M)
        for i in range(0, N, BLOCK):
            at = i + within
            ends = tl.load(callers_target_lengths + at, mask=at < N, other=0)
            begins = tl.load(callers_target_lengths + at - 1, mask=(at < N) & (at > 0), other=0)
            bad = bad | (tl.min(ends - begins) < 0) | (tl.max(ends - begins) > M)
    S = tl.where(bad, 0, S)
    offset = tl.where(bad, 0, offset)

    wrong = 0
    repeats = 0
    for i in range(0, S, BLOCK):
        k = i + within
        inside = k < S
        label = tl.load(callers_labels + offset + k, mask=inside, other=0)
        known = (label >= 0) & (label < C) & (label != blank)
        wrong += tl.sum((inside & (known == 0)).to(tl.int32))
        tl.store(labels + offset + k, label.to(tl.int32), mask=inside)
        tl.debug_barrier()  # the threads read what others have stored
        before = tl.load(labels + offset + k - 1, mask=inside & (k > 0), other=-1)
        repeats += tl.sum((inside & (label == before)).to(tl.int32))
        if not BY_CLASS:
            first = (-k + FIRST).to(tl.int32)  # (Triton takes constants on the right only)
            tl.atomic_max(slot_of_class + n * C + label, first, mask=inside & known, sem="relaxed")
    bad = bad | (wrong > 0)
    feasible = S + repeats <= frames
    tl.store(kinds + n, tl.where(bad, INVALID, tl.where(feasible, FINE, INFINITE)))
    tl.store(items + n * ITEM, tl.minimum(tl.maximum(frames, 0), T))
    tl.store(items + n * ITEM + 1, tl.where(bad, 0, S))
    tl.store(items + n * ITEM + 2, offset)
    if (bad == 0) & feasible:
        for i in range(0, S // CHUNK + 1, BLOCK):
            at = item_of_chunk + offset // CHUNK + n + i + within
            tl.store(at, (within * 0 + n + 1).to(tl.int32), mask=i + within <= S // CHUNK)


@triton.jit(do_not_specialize=["N", "T", "C", "to_blank"])
def sum_rows(
    x,
    stride_t,
    stride_n,
    stride_c,
    kinds,
    items,
    fields,
    peaks,
    N,
    T,
    C,
    to_blank,
    REAL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Of each frame of logits: its largest, which class that is, and the sum of the others' exponentials."""
    n = (tl.program_id(0) % N).to(tl.int64)
    begin = (tl.program_id(0) // N).to(tl.int64) * ROWS
    t = begin + tl.arange(0, ROWS)
    frames = tl.where(tl.load(kinds + n) == FINE, tl.load(items + n * ITEM), 0)
    inside = t < frames
    row = x + t * stride_t + n * stride_n
    column = tl.arange(0, COLUMNS)

    # Every lane goes through its own classes, with the largest so far left out of the sum of the others.
    top = tl.full((ROWS, COLUMNS), -float("inf"), REAL)
    rest = tl.zeros((ROWS, COLUMNS), REAL)
    peak = tl.zeros((ROWS, COLUMNS), tl.int32)
    for start in range(0, tl.where(begin < frames, C, 0), COLUMNS):
        c = start + column
        mask = inside[:, None] & (c < C)[None, :]
        v = tl.load(row[:, None] + c[None, :].to(tl.int64) * stride_c, mask=mask, other=-float("inf")).to(REAL)
        higher = v > top
        larger, smaller = tl.where(higher, v, top), tl.where(higher, top, v)
        # Of two impossible classes neither adds anything; their difference would be NaN.
        share = tl.where(smaller == -float("inf"), 0.0, exp_of_difference(smaller, larger, REAL))
        rest = tl.where(higher, (rest + tl.where(top == -float("inf"), 0.0, 1.0)) * share, rest + share)
        # The lane's sum is in units of its largest; that one is left out, and joins when a larger one comes.
        peak = tl.where(higher, c[None, :], peak)
        top = larger
    highest = tl.max(top, 1)
    winner = tl.min(tl.where(top == highest[:, None], peak, FIRST), 1)
    reference = tl.where(highest == -float("inf"), 0.0, highest)  # a frame in which nothing is possible
    with_own = rest + tl.where((peak == winner[:, None]) & (top == highest[:, None]), 0.0, 1.0)
    # A lane without any possible class has seen at most NaNs, which stay.
    share = exp_of_difference(top, reference[:, None], REAL)
    total = tl.sum(tl.where(top == -float("inf"), rest, with_own * share), 1)
    total = tl.where(highest == float("inf"), float("nan"), total)
    m, e = exponential(tl.load(row + to_blank, mask=inside, other=0.0).to(REAL), reference, REAL)
    at = n * T + t
    tl.store(fields + at * FIELDS + TOP, reference, mask=inside)
    tl.store(fields + at * FIELDS + BLANK_M, m, mask=inside)
    tl.store(fields + at * FIELDS + BLANK_E, e.to(REAL), mask=inside)
    tl.store(fields + at * FIELDS + REST, total, mask=inside)
    tl.store(peaks + at, winner, mask=inside)


@triton.jit(do_not_specialize=["stride_t", "stride_n", "stride_c", "N", "T", "blank"])
def top_of_rows(
    x,
    stride_t,
    stride_n,
    stride_c,
    labels,
    kinds,
    items,
    fields,
    N,
    T,
    blank,
    REAL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Of each frame of log-probabilities: the largest among the blank's and the target's. No other class is read."""
    n = (tl.program_id(0) % N).to(tl.int64)
    begin = (tl.program_id(0) // N).to(tl.int64) * ROWS
    t = begin + tl.arange(0, ROWS)
    fine = tl.load(kinds + n) == FINE
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
    at = (n * T + t) * FIELDS
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
    kinds,
    items,
    fields,
    peaks,
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
    """Frames begin..end of the gradient or the class occupancy, frames beyond an item's length included."""
    tile = tl.program_id(0)
    across = (C + COLUMNS - 1) // COLUMNS
    n = (tile // across % N).to(tl.int64)
    t = begin + (tile // across // N).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = (tile % across).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    kind = tl.load(kinds + n)
    frames, S, offset = load_item(items, n)
    known = tl.where(kind == FINE, tl.minimum(frames, end), 0)  # (the interpreter takes no single bool in a mask)
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
    share = of_class.to(REAL) / total.to(REAL)[:, None]

    if MODE == GRADIENT_OF_LOGITS:
        at = (n * T + t) * FIELDS
        top = tl.load(fields + at + TOP, mask=active, other=0.0)
        rest = tl.load(fields + at + REST, mask=active, other=0.0)
        peak = tl.load(peaks + n * T + t, mask=active, other=-1)
        v = tl.load(x + t[:, None] * stride_t + n * stride_n + c[None, :] * stride_c, mask=mask, other=0.0).to(REAL)
        softmax = exp_of_difference(tl.minimum(v, top[:, None]), top[:, None], REAL) / (1.0 + rest)[:, None]
        # The gradient sums to 0 over the classes, so that of the largest is minus the sum of the others: where
        # the model is sure, 1 - 1 would leave nothing. The occupancies are integers, and their difference is exact.
        others = (total[:, None] - of_class).to(REAL) / total.to(REAL)[:, None] - (rest / (1.0 + rest))[:, None]
        value = tl.where(c[None, :] == peak[:, None], others, softmax - share)
    elif MODE == GRADIENT_OF_LOG_PROBS:
        value = -share
    else:
        value = share
    if MEAN:
        value = value / (N * tl.maximum(S, 1)).to(REAL)
    # Where the loss is NaN, so is everything within the item's frames; an invalid item has no gradient.
    if MODE == OCCUPANCY:
        unknown = tl.where((kind == NAN) | (kind == INVALID), frames, 0)
    else:
        unknown = tl.where(kind == NAN, frames, 0)
    value = tl.where(mask, value, tl.where((t < unknown)[:, None], float("nan"), 0.0))
    to = out + t[:, None] * out_stride_t + n * out_stride_n + c[None, :] * out_stride_c
    tl.store(to, value.to(out.dtype.element_ty), mask=(t < end)[:, None] & (c < C)[None, :])


@triton.jit(do_not_specialize=["N", "T", "C", "scale_stride"])
def scale_rows(
    x, stride_t, stride_n, stride_c, scale, scale_stride, N, T, C, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Multiply by a number that only the device knows; where it is 1, touch nothing."""
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
