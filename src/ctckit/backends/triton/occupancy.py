r"""The occupancy of states and classes: forward times backward, in Triton.

A program takes one block of FRAMES_PER_BLOCK frames of one item. It loads the states that `walk_chunks` kept at both
ends of the block, goes over the frames again in both directions, and multiplies. So memory holds states only every
FRAMES_PER_BLOCK frames.

Positions are computed in tiles of one warp. In each frame one more position at either end of a tile becomes wrong,
because it lacks its neighbour. So tiles overlap by FRAMES_PER_BLOCK positions on either side, and only the middle
counts. (Two positions per lane waste less, but take longer to compile than all other kernels together.)

Occupancies of equal labels are added as integers, in units of 2^-60, so their sum does not depend on the order. The
terms are alpha * beta / Z. Their sum over a frame is 1, but for the rounding errors of alpha and beta. That drift is
common to all states of a frame, so `write_rows` divides by the frame's sum.

A label may be skipped to where `ctckit.lattice.may_skip` says so.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, RUF005

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
    TOP,
    field,
    load_fields,
    load_item,
)
from ctckit.backends.triton.states import MIN_EXPONENT, NO_EXPONENT, exponential, power, product, sum2, sum3

FRACTION_BITS = tl.constexpr(60)  # occupancies are counted in units of 2^-60


@triton.jit
def state_occupancy(m1, e1, m2, e2, total_e, per_total, REAL: tl.constexpr):
    """(m1 2^e1) (m2 2^e2) / total, in units of 2^-FRACTION_BITS.

    The sum of exponents cannot overflow: each is at least MIN_EXPONENT.
    """
    return (m1 * m2) * per_total * power(tl.minimum(e1 + e2 - total_e + FRACTION_BITS, 100), REAL)


@triton.jit
def load_states(kept_m, kept_e, at, step, here, has):
    """The states that `walk_chunks` kept, at a tile's positions."""
    blank_m = tl.load(kept_m + at, mask=here, other=0.0)
    blank_e = tl.load(kept_e + at, mask=here, other=MIN_EXPONENT)
    label_m = tl.load(kept_m + at + step, mask=has, other=0.0)
    label_e = tl.load(kept_e + at + step, mask=has, other=MIN_EXPONENT)
    return blank_m, blank_e, label_m, label_e


@triton.jit(
    do_not_specialize=["stride_t", "stride_n", "stride_c", "first_block", "T", "C", "M", "N", "blank", "states_width"]
)
def occupy(
    x,
    stride_t,
    stride_n,
    stride_c,
    labels,
    statuses,
    items,
    fields,
    kept_m,
    kept_e,
    end_m,
    end_e,
    slot_of_class,
    occupancy,
    totals,
    states,
    first_block,
    T,
    C,
    M,
    N,
    blank,
    states_width,
    REAL: tl.constexpr,
    CHUNK: tl.constexpr,
    FRAMES_PER_BLOCK: tl.constexpr,
    BY_CLASS: tl.constexpr,
    STATES: tl.constexpr,
):
    """Add block b's occupancies per class to `occupancy`, [frame][slot], and write their sums to `totals`.

    With STATES, write the occupancies per state to `states` too.
    """
    n = tl.program_id(0).to(tl.int64)
    b = first_block + tl.program_id(1).to(tl.int64)
    frames = tl.load(items + n * ITEM_FIELDS)
    if (tl.load(statuses + n) != FINITE) | (b * FRAMES_PER_BLOCK >= frames):
        return
    _, S, offset = load_item(items, n)  # loaded here, because that takes fewer registers
    begin = b * FRAMES_PER_BLOCK
    lane = tl.arange(0, CHUNK)
    before = tl.maximum(lane - 1, 0)
    after = tl.minimum(lane + 1, CHUNK - 1)
    slots = N.to(tl.int64) * C if BY_CLASS else M.to(tl.int64) + N
    occupancy += (begin - first_block.to(tl.int64) * FRAMES_PER_BLOCK) * slots

    total_m, total_e = sum2(
        tl.load(end_m + n * 2).to(REAL),
        tl.load(end_e + n * 2),
        tl.load(end_m + n * 2 + 1, mask=S > 0, other=0.0).to(REAL),
        tl.load(end_e + n * 2 + 1, mask=S > 0, other=MIN_EXPONENT),
        REAL,
    )
    per_total = 1.0 / total_m
    values = load_fields(fields + n * T * FRAME_FIELDS, begin, 1, frames - 1, CHUNK, FRAMES_PER_BLOCK)

    of_blanks = ()  # sums per frame and lane
    of_labels = ()
    for _ in tl.static_range(FRAMES_PER_BLOCK):
        of_blanks = of_blanks + (tl.zeros((CHUNK,), tl.int64),)
        of_labels = of_labels + (tl.zeros((CHUNK,), tl.int64),)

    for start in range(0, S + 1, CHUNK - 2 * FRAMES_PER_BLOCK):
        k = start - FRAMES_PER_BLOCK + lane
        has = (k >= 0) & (k < S)
        here = (k >= 0) & (k <= S)
        counts = here & (lane >= FRAMES_PER_BLOCK) & (lane < CHUNK - FRAMES_PER_BLOCK)
        label = tl.load(labels + offset + k, mask=has, other=0).to(tl.int64)
        skip = has & (k > 0)
        skip = skip & (label != tl.load(labels + offset + k - 1, mask=skip, other=0))
        skip_next = has & (k < S - 1)
        skip_next = skip_next & (label != tl.load(labels + offset + k + 1, mask=skip_next, other=0))
        row = x + n * stride_n + label * stride_c
        if BY_CLASS:
            slot = n * C + label
        else:
            slot = offset + n - tl.load(slot_of_class + n * C + label, mask=has, other=0) + FIRST

        # Forward: alpha, the states after each frame.
        kept = b * 4 * (M + N) + offset + n + k
        blank_m, blank_e, label_m, label_e = load_states(kept_m, kept_e, kept, M + N, here, has)
        emissions = ()
        alpha = ()
        for u in tl.static_range(FRAMES_PER_BLOCK):
            t = tl.minimum(begin + u, frames - 1)
            v = tl.load(row + t * stride_t, mask=has, other=-float("inf")).to(REAL)
            p_m, p_e = exponential(v, field(values, u, TOP), REAL)
            from_m = tl.where(lane == 0, 0.0, tl.gather(label_m, before, 0))
            from_e = tl.where(lane == 0, MIN_EXPONENT, tl.gather(label_e, before, 0))
            skip_e = tl.where(skip, from_e, NO_EXPONENT)
            into_m, into_e = sum3(label_m, label_e, blank_m, blank_e, from_m, skip_e, REAL)
            label_m, label_e = product(into_m, into_e, p_m, p_e)
            into_m, into_e = sum2(blank_m, blank_e, from_m, from_e, REAL)
            of_blank_m, of_blank_e = field(values, u, BLANK_M), field(values, u, BLANK_E).to(tl.int32)
            blank_m, blank_e = product(into_m, into_e, of_blank_m, of_blank_e)
            emissions = emissions + (p_m, p_e)
            alpha = alpha + (blank_m, blank_e, label_m, label_e)

        # Backward, from the states that the mirrored recursion kept: beta, before a frame's emission is multiplied.
        # Position k reads blank k + 1 and label k + 1. That takes two shuffles more than the mirrored form, but the
        # lanes keep the positions, labels and emissions of the forward direction.
        blank_m, blank_e, label_m, label_e = load_states(kept_m, kept_e, kept + 2 * (M + N), M + N, here, has)
        sum_of_blanks = ()
        sum_of_labels = ()
        for u in tl.static_range(FRAMES_PER_BLOCK - 1, -1, -1):
            inside = begin + u < frames
            next_blank_m = tl.where(lane == CHUNK - 1, 0.0, tl.gather(blank_m, after, 0))
            next_blank_e = tl.where(lane == CHUNK - 1, MIN_EXPONENT, tl.gather(blank_e, after, 0))
            next_label_m = tl.where(lane == CHUNK - 1, 0.0, tl.gather(label_m, after, 0))
            next_label_e = tl.where(lane == CHUNK - 1, MIN_EXPONENT, tl.gather(label_e, after, 0))
            skip_e = tl.where(skip_next, next_label_e, NO_EXPONENT)
            beta_blank_m, beta_blank_e = sum2(blank_m, blank_e, label_m, label_e, REAL)
            beta_label_m, beta_label_e = sum3(label_m, label_e, next_blank_m, next_blank_e, next_label_m, skip_e, REAL)
            valid = counts & (k <= tl.where(inside, S, -1))
            of_blank = state_occupancy(
                alpha[4 * u], alpha[4 * u + 1], beta_blank_m, beta_blank_e, total_e, per_total, REAL
            )
            of_label = state_occupancy(
                alpha[4 * u + 2], alpha[4 * u + 3], beta_label_m, beta_label_e, total_e, per_total, REAL
            )
            of_blank = tl.where(valid, of_blank, 0.0)
            of_label = tl.where(valid & has, of_label, 0.0)
            if STATES:
                to = states + ((begin + u) * N + n) * states_width + 2 * k
                tl.store(to, of_blank, mask=valid)
                tl.store(to + 1, of_label, mask=valid & has)
            count = of_label.to(tl.int64)
            tl.atomic_add(occupancy + u * slots + slot, count, mask=count > 0, sem="relaxed")
            sum_of_blanks = (of_blanks[u] + of_blank.to(tl.int64),) + sum_of_blanks
            sum_of_labels = (of_labels[u] + count,) + sum_of_labels
            of_blank_m, of_blank_e = field(values, u, BLANK_M), field(values, u, BLANK_E).to(tl.int32)
            beta_blank_m, beta_blank_e = product(beta_blank_m, beta_blank_e, of_blank_m, of_blank_e)
            beta_label_m, beta_label_e = product(beta_label_m, beta_label_e, emissions[2 * u], emissions[2 * u + 1])
            # Beyond the item's last frame the states stay those of the end.
            blank_m = tl.where(inside, beta_blank_m, blank_m)
            blank_e = tl.where(inside, beta_blank_e, blank_e)
            label_m = tl.where(inside, beta_label_m, label_m)
            label_e = tl.where(inside, beta_label_e, label_e)
        of_blanks = sum_of_blanks
        of_labels = sum_of_labels

    for u in tl.static_range(FRAMES_PER_BLOCK):
        if begin + u < frames:
            sum_of_blank = tl.sum(of_blanks[u], 0)
            slot_of_blank = (n * C + blank) if BY_CLASS else (offset + n + S)
            tl.store(occupancy + u * slots + slot_of_blank, sum_of_blank)
            tl.store(totals + n * T + begin + u, sum_of_blank + tl.sum(of_labels[u], 0))
