"""What all kernels share, in Triton: statuses of items, numbers of frames and items; and `prepare`, the first kernel.

Only `prepare` reads the caller's lengths and labels. It reads each number once and copies it to scratch memory; all
other kernels read the copy. So the kernels of a call agree on them, even if the caller's tensors change while the call
runs, on another stream or between two replays of a graph. Without the copy, a chunk could wait for a chunk that does
not exist, and an index could be out of bounds.

A row is the classes of one frame of one item. Kernels process tiles of ROWS frames by COLUMNS classes. Two kernels
touch every class: `sums.sum_rows` reads the logits once before forward-backward; `gradient.write_rows` or
`gradient.write_by_class` reads them again after it and writes the gradient.

These are as fast as the memory only if threads load 16 bytes at once, and the compiler lets them only if it sees that
rows begin and end at multiples. So these kernels take C and the strides of frames and items divided by a constant,
ALIGN (`tiles.alignment`), and multiply them by it (`multiples`). Triton itself would look for multiples of 16, which
5000 classes are not.

Launches over frames and items have one dimension, items fastest: NVIDIA limits the other dimensions to 65,535 programs.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201

from __future__ import annotations

import triton
import triton.language as tl

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
def multiples(C, stride_t, stride_n, ALIGN: tl.constexpr):
    """The classes and strides, which came divided by ALIGN."""
    return C * ALIGN, stride_t.to(tl.int64) * ALIGN, stride_n.to(tl.int64) * ALIGN


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

# Modes of `gradient.write_rows` and `gradient.write_by_class`.
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
