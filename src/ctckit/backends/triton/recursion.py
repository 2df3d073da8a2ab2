r"""The recursion of CTC over the frames, in Triton: both directions at once, any target length, no barrier.

Position k of a target of S labels holds blank k and label k (position S: the last blank, no label), and with the
emissions p of a frame

    B'[k] = (B[k] + L[k-1]) p(blank)          L'[k] = (L[k] + B[k] + skip[k] L[k-1]) p(label k)

The backward direction is the same on the mirrored problem: frames and labels in reverse order. Direction is a number at
run time, so that there is one kernel.

**Digits.** The mantissas are float64 here, whatever the emissions are. Where a model is sure, the sum over all paths is
1 + something, relative to the frames' largest classes, and that something is what the loss is made of: a float32 would
round it away. The emissions keep float32's digits, and so do the states that are kept for the gradient.

**Chunks.** A program is one warp. It holds one chunk of CHUNK positions in registers, one position per lane, and goes
over all frames. Within a chunk L[k-1] comes by a shuffle from the lane before. Between chunks it comes through memory,
mantissa and exponent in a 64-bit word each: the chunk before writes them, a block of FRAMES frames at a time, and this
one waits for them, having asked a block ahead. Targets of any length are more chunks of the same kernel.

**Why this cannot deadlock.** Only chunk c of an item waits, and only for chunk c - 1 of the same item and direction,
which has a smaller ticket: programs take their work by an atomic counter, not by their index. Whoever holds a smaller
ticket has started before, so it is resident, and resident programs run on whatever the others wait for (the guarantee
on which every single-pass scan relies). The smallest unfinished ticket waits for nobody; so all finish. It needs no
assumption on the order in which, or on how many at a time, the hardware starts programs. All programs read the same
copy of the lengths, so each agrees with the others on which chunks there are and how many frames these take.

**And if it waited all the same.** A program polls at most POLLS times in all. Then it goes on with what it has, sends
that on, and the item's loss and gradient become NaN: an error in this reasoning, or in a driver, is not a GPU that
hangs.

The ticket is the only atomic operation on a single number, and it stands outside of every loop; what is polled in the
loop are tensors. Keep it so: on AMD, Triton hands the result of a scalar atomic to all threads through a barrier, and
such a barrier in a loop has been seen to hang.

**Why there is no race.** Nothing is shared but those words. Each is written once, by one atomic addition of the whole
word to a zero, and read by atomic additions of zero; a word is its own flag (a written one is never 0: its mantissa
carries a set sign bit, its exponent another bit). Who has read both words of a frame needs no other memory to be
visible, so relaxed order suffices.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103, PLR0124, RUF005, SIM108

from __future__ import annotations

import triton
import triton.language as tl

from ctckit.backends.triton.rows import (
    BLANK_E,
    BLANK_M,
    FIELDS,
    FINE,
    INFINITE,
    INVALID,
    NAN,
    REST,
    TOP,
    field,
    load_fields,
    load_item,
)
from ctckit.backends.triton.states import NEVER, VOID, exponential, normalised, product, sum2, sum3


@triton.jit
def load_frames(row, of_label, fields, first, step, last, REAL: tl.constexpr, FRAMES: tl.constexpr):
    """The emissions of a block's frames first, first + step, ...; beyond the item's frames anything."""
    x = ()
    for u in tl.static_range(FRAMES):
        t = tl.minimum(tl.maximum(first + step * u, 0), last)
        x = x + (tl.load(row[0] + t * row[1], mask=of_label, other=-float("inf")).to(REAL),)
    return x, load_fields(fields, first, step, last, of_label.shape[0], FRAMES)


@triton.jit
def publish(words, m, e, mask):
    # The sign is set as a bit, not as -m: Triton 3.4 makes that 0 - m, in which 0 has no sign, and a word of 0 would be
    # awaited for ever.
    tl.atomic_add(words, m.to(tl.int64, bitcast=True) | (-1 << 63), mask=mask, sem="relaxed")
    tl.atomic_add(words + 1, e.to(tl.int64) | (1 << 62), mask=mask, sem="relaxed")


@triton.jit
def ask(words, mask):
    """The two words of a frame, as far as they are there."""
    nothing = tl.zeros(words.shape, tl.int64)
    m = tl.atomic_add(words, nothing, mask=mask, sem="relaxed")
    return m, tl.atomic_add(words + 1, nothing, mask=mask, sem="relaxed")


@triton.jit
def missing(m, e, mask):
    return tl.max((mask & ((m == 0) | (e == 0))).to(tl.int32), 0) > 0


@triton.jit
def unpacked(m, e):
    return (m & 0x7FFFFFFFFFFFFFFF).to(tl.float64, bitcast=True), e.to(tl.int32)


@triton.jit
def walk(
    state,
    belt,
    skip,
    emissions,
    count,
    REAL: tl.constexpr,
    CHUNK: tl.constexpr,
    FRAMES: tl.constexpr,
    CHAINED: tl.constexpr,
    PARTIAL: tl.constexpr,
):
    """Take the states over a block's frames; with PARTIAL over its first `count`.

    The belt, which moves by a lane per frame, holds in lane u what the chunk before sends in the block's frame u; on
    return, in lane CHUNK - FRAMES + u, what this chunk does.
    """
    blank_m, blank_e, label_m, label_e = state
    belt_m, belt_e = belt
    x, values = emissions
    lane = tl.arange(0, CHUNK)
    before = tl.maximum(lane - 1, 0)
    after = tl.minimum(lane + 1, CHUNK - 1)
    for u in tl.static_range(FRAMES):
        from_m = tl.gather(label_m, before, 0)
        from_e = tl.gather(label_e, before, 0)
        if CHAINED:
            from_m = tl.where(lane == 0, belt_m, from_m)
            from_e = tl.where(lane == 0, belt_e, from_e)
            belt_m = tl.where(lane == CHUNK - 1, label_m, tl.gather(belt_m, after, 0))
            belt_e = tl.where(lane == CHUNK - 1, label_e, tl.gather(belt_e, after, 0))
        else:
            from_m = tl.where(lane == 0, 0.0, from_m)
            from_e = tl.where(lane == 0, NEVER, from_e)
        p_m, p_e = exponential(x[u], field(values, u, TOP), REAL)
        into_blank_m, into_blank_e = sum2(blank_m, blank_e, from_m, from_e, tl.float64)
        skip_e = tl.where(skip, from_e, VOID)
        into_label_m, into_label_e = sum3(label_m, label_e, blank_m, blank_e, from_m, skip_e, tl.float64)
        of_blank_m, of_blank_e = field(values, u, BLANK_M).to(tl.float64), field(values, u, BLANK_E).to(tl.int32)
        into_blank_m, into_blank_e = product(into_blank_m, into_blank_e, of_blank_m, of_blank_e)
        into_label_m, into_label_e = product(into_label_m, into_label_e, p_m.to(tl.float64), p_e)
        if PARTIAL:
            blank_m = tl.where(u < count, into_blank_m, blank_m)
            blank_e = tl.where(u < count, into_blank_e, blank_e)
            label_m = tl.where(u < count, into_label_m, label_m)
            label_e = tl.where(u < count, into_label_e, label_e)
        else:
            blank_m, blank_e, label_m, label_e = into_blank_m, into_blank_e, into_label_m, into_label_e
    blank_m, blank_e = normalised(blank_m, blank_e, tl.float64)
    label_m, label_e = normalised(label_m, label_e, tl.float64)
    return (blank_m, blank_e, label_m, label_e), (belt_m, belt_e)


@triton.jit(do_not_specialize=["stride_t", "stride_n", "stride_c", "T", "M", "N"])
def walk_chunks(
    x,
    stride_t,
    stride_n,
    stride_c,
    labels,
    items,
    fields,
    item_of_chunk,
    ticket,
    words,
    kept_m,
    kept_e,
    end_m,
    end_e,
    T,
    M,
    N,
    REAL: tl.constexpr,
    CHUNK: tl.constexpr,
    FRAMES: tl.constexpr,
    DIRECTIONS: tl.constexpr,
    CHAINED: tl.constexpr,
    POLLS: tl.constexpr,
):
    """One chunk of one item in one direction, over all its frames.

    With both DIRECTIONS, the states before each block of FRAMES frames are kept, [block][direction][blank, label]
    [position of the forward problem]. The blocks of both directions have the same frames; the last may have fewer.
    """
    if CHAINED:
        task = tl.atomic_add(ticket, 1, sem="relaxed")
    else:
        task = tl.program_id(0)
    chunk = (task // DIRECTIONS).to(tl.int64)
    backward = task % DIRECTIONS
    n = tl.load(item_of_chunk + chunk).to(tl.int64) - 1
    if n < 0:
        return
    frames, S, offset = load_item(items, n)
    chunk -= offset // CHUNK + n  # its number within the item

    lane = tl.arange(0, CHUNK)
    k = chunk * CHUNK + lane
    of_label = k < S
    position = tl.where(backward == 1, S - 1 - k, k)
    neighbour = tl.where(backward == 1, S - k, k - 1)
    label = tl.load(labels + offset + position, mask=of_label, other=0).to(tl.int64)
    skip = of_label & (k > 0)
    skip = skip & (label != tl.load(labels + offset + neighbour, mask=skip, other=0))
    row = (x + n * stride_n + label * stride_c, stride_t)
    fields += n * T * FIELDS
    positions = M.to(tl.int64) + N

    # All mass on the first blank before the first frame.
    blank_m = tl.where(k == 0, 1.0, tl.zeros((CHUNK,), tl.float64))
    blank_e = tl.where(k == 0, 0, NEVER)
    label_m = tl.zeros((CHUNK,), tl.float64)
    label_e = tl.full((CHUNK,), NEVER, tl.int32)

    # Words 2t and 2t + 1 of boundary c hold what label (c + 1) CHUNK - 1 sends on in frame t.
    row_of_words = T.to(tl.int64) * 2
    out_words = words + (backward * (M // CHUNK) + offset // CHUNK + chunk) * row_of_words
    in_words = out_words - row_of_words
    polls_left = tl.full((), POLLS, tl.int32)
    sends = (chunk + 1) * CHUNK <= S
    word_m = tl.full((CHUNK,), 0, tl.int64)
    word_e = tl.full((CHUNK,), 0, tl.int64)

    step = 1 - 2 * backward
    blocks = (frames + FRAMES - 1) // FRAMES
    block = tl.where(backward == 1, blocks - 1, 0)
    begin = block * FRAMES
    first = tl.where(backward == 1, frames - 1, 0)
    count = tl.minimum(frames - begin, FRAMES)
    if frames > 0:
        ahead = load_frames(row, of_label, fields, first, step, frames - 1, REAL, FRAMES)
        if CHAINED:
            awaited = lane < tl.where(chunk > 0, count, 0)
            word_m, word_e = ask(in_words + (first + step * lane) * 2, awaited)
        for i in range(blocks):
            emissions = ahead
            next_first = first + step * count
            next_count = tl.minimum(frames - (block + step) * FRAMES, FRAMES)
            ahead = load_frames(row, of_label, fields, next_first, step, frames - 1, REAL, FRAMES)
            belt = (label_m, label_e)
            if CHAINED:
                awaited = lane < tl.where(chunk > 0, count, 0)
                at = in_words + (first + step * lane) * 2
                while missing(word_m, word_e, awaited) & (polls_left > 0):
                    word_m, word_e = ask(at, awaited)
                    polls_left -= 1
                m, e = unpacked(word_m, word_e)
                belt = (tl.where(awaited, m, 0.0), tl.where(awaited, e, NEVER))
                awaited = lane < tl.where((chunk > 0) & (i + 1 < blocks), next_count, 0)
                word_m, word_e = ask(in_words + (next_first + step * lane) * 2, awaited)
            if DIRECTIONS == 2:
                at = (block * 2 + backward) * 2 * positions + offset + n
                blank_at = at + tl.where(backward == 1, S - k, k)
                label_at = at + positions + position
                tl.store(kept_m + blank_at, blank_m.to(REAL), mask=k <= S)
                tl.store(kept_e + blank_at, blank_e, mask=k <= S)
                tl.store(kept_m + label_at, label_m.to(REAL), mask=of_label)
                tl.store(kept_e + label_at, label_e, mask=of_label)
            state = (blank_m, blank_e, label_m, label_e)
            if count == FRAMES:
                state, belt = walk(state, belt, skip, emissions, count, REAL, CHUNK, FRAMES, CHAINED, False)
            else:
                state, belt = walk(state, belt, skip, emissions, count, REAL, CHUNK, FRAMES, CHAINED, True)
            blank_m, blank_e, label_m, label_e = state
            if CHAINED:
                u = lane - (CHUNK - FRAMES)
                sent = (u >= 0) & (u < tl.where(sends, count, 0))
                publish(out_words + (first + step * u) * 2, belt[0], belt[1], sent)
            block += step
            first = next_first
            count = next_count

    if CHAINED and polls_left <= 0:
        tl.store(fields + REST, float("nan"))  # of the first frame: the item's loss becomes NaN
    if backward == 0:
        tl.store(end_m + n * 2 + lane * 0, blank_m, mask=k == S)
        tl.store(end_e + n * 2 + lane * 0, blank_e, mask=k == S)
        tl.store(end_m + n * 2 + 1 + lane * 0, label_m, mask=k == S - 1)
        tl.store(end_e + n * 2 + 1 + lane * 0, label_e, mask=k == S - 1)


@triton.jit(do_not_specialize=["T"])
def finish(
    kinds,
    items,
    fields,
    end_m,
    end_e,
    losses,
    T,
    LOGITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The loss of item n: the two final states, and what the emissions of its frames were relative to."""
    n = tl.program_id(0).to(tl.int64)
    kind = tl.load(kinds + n)
    loss = tl.full((), float("inf"), tl.float64)
    if kind == INVALID:
        loss = tl.full((), float("nan"), tl.float64)
    if kind == FINE:
        frames, S, _ = load_item(items, n)
        scale = tl.zeros((BLOCK,), tl.float64)
        for start in range(0, frames, BLOCK):
            t = start + tl.arange(0, BLOCK)
            at = fields + (n * T + t) * FIELDS
            rest = tl.load(at + REST, mask=t < frames, other=0.0).to(tl.float64)
            if LOGITS:
                whole = 1.0 + rest
                scale -= tl.log(whole) + (rest - (whole - 1.0)) / whole  # log1p
            else:
                scale += tl.load(at + TOP, mask=t < frames, other=0.0).to(tl.float64) + rest
        m1, e1 = tl.load(end_m + n * 2), tl.load(end_e + n * 2)
        m2 = tl.load(end_m + n * 2 + 1, mask=S > 0, other=0.0)
        e2 = tl.load(end_e + n * 2 + 1, mask=S > 0, other=NEVER)
        m, e = sum2(m1, e1, m2, e2, tl.float64)
        scale = tl.sum(scale, 0)
        loss = -(tl.log(m) + e.to(tl.float64) * 0.6931471805599453 + scale)
        loss = tl.where(scale != scale, scale, tl.where(m == 0.0, float("inf"), loss))
        tl.store(kinds + n, tl.where(loss != loss, NAN, tl.where(loss == float("inf"), INFINITE, FINE)))
    tl.store(losses + n, loss)
