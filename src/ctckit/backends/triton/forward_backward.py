r"""The forward-backward recursion, in Triton: both directions at once, any target length, no barrier.

Position k of a target of S labels holds blank k and label k. Position S holds the last blank and no label. With the
emissions p of a frame,

    B'[k] = (B[k] + L[k-1]) p(blank)          L'[k] = (L[k] + B[k] + skip[k] L[k-1]) p(label k)

where skip[k] is `ctckit.lattice.may_skip` of label k: 1 if label k differs from label k - 1, else 0. The backward
direction is the same recursion on the mirrored problem, with frames and labels in reverse order. The direction is a
run-time argument, so one kernel serves both.

**Precision.** Mantissas are float64 here, whatever the dtype of the emissions. For a confident model the sum over all
paths, relative to the frames' largest classes, is 1 + ε, and the loss is log(1 + ε): float32 would round ε away. The
emissions keep float32's digits, and so do the states that are kept for the gradient.

**Chunks.** A program is one warp. It holds one chunk of CHUNK positions in registers, one position per lane, and goes
over all frames. Within a chunk L[k-1] comes by a shuffle from the lane before. Between chunks it comes through memory,
as one 64-bit word for the mantissa and one for the exponent. The chunk before writes the words of a block of
FRAMES_PER_BLOCK frames at once. This chunk polls for them, for the first time one block ahead. A longer target has more
chunks, of the same kernel.

**No deadlock.** Chunk c of an item waits only for chunk c - 1 of the same item and direction. Programs take their task
from an atomic counter, not from their index, and chunk c - 1 has the smaller task number. The program with the smaller
number has started earlier, so it is resident. Resident programs make progress, whatever other programs wait for; every
single-pass scan relies on this guarantee. The smallest unfinished task waits for none, so all tasks finish. This
assumes nothing about the order in which the hardware starts programs, or how many run at a time. All programs read the
same copy of the lengths, so they agree on the chunks and their frames.

**Bounded polling.** A program polls at most POLLS times in all. Then it continues with the values it has and sends
those on, and the item's loss and gradient become NaN. So an error in this reasoning, or in a driver, gives NaN and does
not hang the GPU.

The task counter is the only scalar atomic, and it is outside of every loop; the loop polls tensors. Keep it so: on AMD,
Triton broadcasts the result of a scalar atomic through a barrier, and such a barrier in a loop has been seen to hang.

**No race.** Programs share only these words. One atomic addition of the whole word to a zero writes a word, once;
atomic additions of zero read it. A word is its own flag: a written word is never 0, because the mantissa's has the sign
bit set and the exponent's another bit. A program that has read both words of a frame reads no other shared memory, so
relaxed order suffices.
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
    FINITE,
    FRAME_FIELDS,
    INFINITE,
    INVALID,
    NAN,
    REST,
    TOP,
    field,
    load_fields,
    load_item,
)
from ctckit.backends.triton.states import MIN_EXPONENT, NO_EXPONENT, exponential, normalised, product, sum2, sum3


@triton.jit
def load_frames(row, of_label, fields, first, step, last, REAL: tl.constexpr, FRAMES_PER_BLOCK: tl.constexpr):
    """The emissions of a block's frames first, first + step, ...; undefined beyond the item's frames."""
    x = ()
    for u in tl.static_range(FRAMES_PER_BLOCK):
        t = tl.minimum(tl.maximum(first + step * u, 0), last)
        x = x + (tl.load(row[0] + t * row[1], mask=of_label, other=-float("inf")).to(REAL),)
    return x, load_fields(fields, first, step, last, of_label.shape[0], FRAMES_PER_BLOCK)


@triton.jit
def send(words, m, e, mask):
    # The sign is set as a bit, not as -m: Triton 3.4 compiles -m to 0 - m, which is +0 for m = 0. The receiver would
    # poll for that word in vain.
    tl.atomic_add(words, m.to(tl.int64, bitcast=True) | (-1 << 63), mask=mask, sem="relaxed")
    tl.atomic_add(words + 1, e.to(tl.int64) | (1 << 62), mask=mask, sem="relaxed")


@triton.jit
def poll(words, mask):
    """The two words of a frame; 0 for a word that has not been sent yet."""
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
    messages,
    skip,
    emissions,
    count,
    REAL: tl.constexpr,
    CHUNK: tl.constexpr,
    FRAMES_PER_BLOCK: tl.constexpr,
    CHAINED: tl.constexpr,
    PARTIAL: tl.constexpr,
):
    """Advance the states over a block's frames; with PARTIAL over its first `count`.

    `messages` is a shift register across the lanes that moves by one lane per frame. On entry lane u holds the message
    of the chunk before for the block's frame u. On return lane CHUNK - FRAMES_PER_BLOCK + u holds this chunk's message.
    """
    blank_m, blank_e, label_m, label_e = state
    message_m, message_e = messages
    x, values = emissions
    lane = tl.arange(0, CHUNK)
    before = tl.maximum(lane - 1, 0)
    after = tl.minimum(lane + 1, CHUNK - 1)
    for u in tl.static_range(FRAMES_PER_BLOCK):
        from_m = tl.gather(label_m, before, 0)
        from_e = tl.gather(label_e, before, 0)
        if CHAINED:
            from_m = tl.where(lane == 0, message_m, from_m)
            from_e = tl.where(lane == 0, message_e, from_e)
            message_m = tl.where(lane == CHUNK - 1, label_m, tl.gather(message_m, after, 0))
            message_e = tl.where(lane == CHUNK - 1, label_e, tl.gather(message_e, after, 0))
        else:
            from_m = tl.where(lane == 0, 0.0, from_m)
            from_e = tl.where(lane == 0, MIN_EXPONENT, from_e)
        p_m, p_e = exponential(x[u], field(values, u, TOP), REAL)
        into_blank_m, into_blank_e = sum2(blank_m, blank_e, from_m, from_e, tl.float64)
        skip_e = tl.where(skip, from_e, NO_EXPONENT)
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
    return (blank_m, blank_e, label_m, label_e), (message_m, message_e)


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
    task_counter,
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
    FRAMES_PER_BLOCK: tl.constexpr,
    DIRECTIONS: tl.constexpr,
    CHAINED: tl.constexpr,
    POLLS: tl.constexpr,
):
    """One chunk of one item in one direction, over all its frames.

    With both DIRECTIONS, keep the states before each block of FRAMES_PER_BLOCK frames, as [block][direction][blank,
    label][position of the forward problem]. Both directions have the same blocks of frames; the last may have fewer.
    """
    if CHAINED:
        task = tl.atomic_add(task_counter, 1, sem="relaxed")
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
    fields += n * T * FRAME_FIELDS
    positions = M.to(tl.int64) + N

    # Before the first frame all probability is on the first blank.
    blank_m = tl.where(k == 0, 1.0, tl.zeros((CHUNK,), tl.float64))
    blank_e = tl.where(k == 0, 0, MIN_EXPONENT)
    label_m = tl.zeros((CHUNK,), tl.float64)
    label_e = tl.full((CHUNK,), MIN_EXPONENT, tl.int32)

    # Words 2t and 2t + 1 of boundary c hold the message of label (c + 1) CHUNK - 1 in frame t.
    row_of_words = T.to(tl.int64) * 2
    out_words = words + (backward * (M // CHUNK) + offset // CHUNK + chunk) * row_of_words
    in_words = out_words - row_of_words
    polls_left = tl.full((), POLLS, tl.int32)
    sends = (chunk + 1) * CHUNK <= S
    word_m = tl.full((CHUNK,), 0, tl.int64)
    word_e = tl.full((CHUNK,), 0, tl.int64)

    step = 1 - 2 * backward
    blocks = (frames + FRAMES_PER_BLOCK - 1) // FRAMES_PER_BLOCK
    block = tl.where(backward == 1, blocks - 1, 0)
    begin = block * FRAMES_PER_BLOCK
    first = tl.where(backward == 1, frames - 1, 0)
    count = tl.minimum(frames - begin, FRAMES_PER_BLOCK)
    if frames > 0:
        ahead = load_frames(row, of_label, fields, first, step, frames - 1, REAL, FRAMES_PER_BLOCK)
        if CHAINED:
            awaited = lane < tl.where(chunk > 0, count, 0)
            word_m, word_e = poll(in_words + (first + step * lane) * 2, awaited)
        for i in range(blocks):
            emissions = ahead
            next_first = first + step * count
            next_count = tl.minimum(frames - (block + step) * FRAMES_PER_BLOCK, FRAMES_PER_BLOCK)
            ahead = load_frames(row, of_label, fields, next_first, step, frames - 1, REAL, FRAMES_PER_BLOCK)
            messages = (label_m, label_e)
            if CHAINED:
                awaited = lane < tl.where(chunk > 0, count, 0)
                at = in_words + (first + step * lane) * 2
                while missing(word_m, word_e, awaited) & (polls_left > 0):
                    word_m, word_e = poll(at, awaited)
                    polls_left -= 1
                m, e = unpacked(word_m, word_e)
                messages = (tl.where(awaited, m, 0.0), tl.where(awaited, e, MIN_EXPONENT))
                awaited = lane < tl.where((chunk > 0) & (i + 1 < blocks), next_count, 0)
                word_m, word_e = poll(in_words + (next_first + step * lane) * 2, awaited)
            if DIRECTIONS == 2:
                at = (block * 2 + backward) * 2 * positions + offset + n
                blank_at = at + tl.where(backward == 1, S - k, k)
                label_at = at + positions + position
                tl.store(kept_m + blank_at, blank_m.to(REAL), mask=k <= S)
                tl.store(kept_e + blank_at, blank_e, mask=k <= S)
                tl.store(kept_m + label_at, label_m.to(REAL), mask=of_label)
                tl.store(kept_e + label_at, label_e, mask=of_label)
            state = (blank_m, blank_e, label_m, label_e)
            if count == FRAMES_PER_BLOCK:
                state, messages = walk(
                    state, messages, skip, emissions, count, REAL, CHUNK, FRAMES_PER_BLOCK, CHAINED, False
                )
            else:
                state, messages = walk(
                    state, messages, skip, emissions, count, REAL, CHUNK, FRAMES_PER_BLOCK, CHAINED, True
                )
            blank_m, blank_e, label_m, label_e = state
            if CHAINED:
                u = lane - (CHUNK - FRAMES_PER_BLOCK)
                sent = (u >= 0) & (u < tl.where(sends, count, 0))
                send(out_words + (first + step * u) * 2, messages[0], messages[1], sent)
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


@triton.jit(do_not_specialize=["T", "mean", "zero_infinity"])
def finish(
    statuses,
    items,
    fields,
    end_m,
    end_e,
    losses,
    T,
    mean,
    zero_infinity,
    LOGITS: tl.constexpr,
    FRAMES_PER_STEP: tl.constexpr,
):
    """The loss of item n, from its two final states and the scale of its frames' emissions.

    With `zero_infinity` an infinite loss counts as 0; with `mean` it is divided by the item's labels.
    """
    n = tl.program_id(0).to(tl.int64)
    status = tl.load(statuses + n)
    frames, S, _ = load_item(items, n)
    loss = tl.full((), float("inf"), tl.float64)
    if status == INVALID:
        loss = tl.full((), float("nan"), tl.float64)
    if status == FINITE:
        scale = tl.zeros((FRAMES_PER_STEP,), tl.float64)
        for start in range(0, frames, FRAMES_PER_STEP):
            t = start + tl.arange(0, FRAMES_PER_STEP)
            at = fields + (n * T + t) * FRAME_FIELDS
            rest = tl.load(at + REST, mask=t < frames, other=0.0).to(tl.float64)
            if LOGITS:
                whole = 1.0 + rest
                scale -= tl.log(whole) + (rest - (whole - 1.0)) / whole  # log1p
            else:
                scale += tl.load(at + TOP, mask=t < frames, other=0.0).to(tl.float64) + rest
        m1, e1 = tl.load(end_m + n * 2), tl.load(end_e + n * 2)
        m2 = tl.load(end_m + n * 2 + 1, mask=S > 0, other=0.0)
        e2 = tl.load(end_e + n * 2 + 1, mask=S > 0, other=MIN_EXPONENT)
        m, e = sum2(m1, e1, m2, e2, tl.float64)
        scale = tl.sum(scale, 0)
        loss = -(tl.log(m) + e.to(tl.float64) * 0.6931471805599453 + scale)
        loss = tl.where(scale != scale, scale, tl.where(m == 0.0, float("inf"), loss))
        tl.store(statuses + n, tl.where(loss != loss, NAN, tl.where(loss == float("inf"), INFINITE, FINITE)))
    loss = tl.where((zero_infinity != 0) & (loss == float("inf")), 0.0, loss)
    loss = loss / tl.where(mean != 0, tl.maximum(S, 1), 1).to(tl.float64)
    tl.store(losses + n, loss.to(losses.dtype.element_ty))


@triton.jit(do_not_specialize=["N", "divisor"])
def add_losses(losses, result, N, divisor, LOSSES_PER_STEP: tl.constexpr):
    """The sum of the items' losses, divided by a number. One program adds them, so their order is always the same."""
    total = tl.zeros((LOSSES_PER_STEP,), tl.float64)
    for start in range(0, N, LOSSES_PER_STEP):
        n = start + tl.arange(0, LOSSES_PER_STEP)
        total += tl.load(losses + n, mask=n < N, other=0.0)
    tl.store(result, (tl.sum(total, 0) / divisor.to(tl.float64)).to(result.dtype.element_ty))
