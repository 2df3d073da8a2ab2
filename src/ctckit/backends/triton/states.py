"""Numbers with separate exponents, in Triton: the values of states on a GPU.

A state's value is m * 2^e with m float32 or float64 and e int32. A sum is scaled to the largest exponent of its terms.
So only terms 2^126 times (float64: 2^1022 times) smaller than another term *of the same sum* are lost. A product
multiplies the m and adds the e. Forward-backward computes no logarithm and no exponential, and states may differ by any
factor. Every few frames the m are scaled back to [1, 2) (`normalised`).

An exponent below `MIN_EXPONENT` becomes `MIN_EXPONENT`, and zero is m = 0 with an exponent near it. So probabilities
below 2^-(2^29) (a loss above 3.7e8 nats) are not distinguished, and sums of exponents cannot overflow.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103, PLR0124, SIM300

from __future__ import annotations

import triton
import triton.language as tl

MIN_EXPONENT = tl.constexpr(-(1 << 29))
NO_EXPONENT = tl.constexpr(-(1 << 30))  # of an absent term, and of an emission of 0
MIN_DIFFERENCE = tl.constexpr(-2097152.0)  # lower bound of a finite x - top in an emission exp(x - top)


@triton.jit
def power(e, REAL: tl.constexpr):
    """2^e for e <= 127 (float32) or 1023; 0 where that is less than the smallest normal number."""
    if REAL == tl.float32:
        result = ((tl.maximum(e, -127) + 127) << 23).to(tl.float32, bitcast=True)
    else:
        result = ((tl.maximum(e, -1023) + 1023).to(tl.int64) << 52).to(tl.float64, bitcast=True)
    return result


@triton.jit
def exponential(x, top, REAL: tl.constexpr):
    """exp(x - top) as (m, e), m about 1, for x <= top. Exactly (1, 0) for x = top. For NaN the result is undefined."""
    d = x - top
    # The rounding error of the subtraction: for classes far below the top one it limits the accuracy.
    back = d - x
    lost = (x - (d - back)) - (top + back)
    zero = d == -float("inf")
    d = tl.maximum(d, MIN_DIFFERENCE)
    # Adding 1.5 * 2^23 (2^52) rounds to an integer and puts it into the low bits; subtracting it gives the float.
    if REAL == tl.float32:
        shifted = d * 1.4426950408889634 + 12582912.0
        e = shifted.to(tl.int32, bitcast=True) - 0x4B400000
        n = shifted - 12582912.0
        r = (d - n * 0.693359375) + n * 2.12194440e-4  # ln 2 = 0.693359375 - 2.12194440e-4; the first product is exact
        m = tl.exp2((r + tl.where(zero, 0.0, lost)) * 1.4426950408889634)
    else:
        shifted = d * 1.4426950408889634074 + 6755399441055744.0
        e = shifted.to(tl.int64, bitcast=True).to(tl.int32)
        n = shifted - 6755399441055744.0
        r = (d - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
        m = tl.exp(r + tl.where(zero, 0.0, lost))
    return tl.where(zero, 0.0, m), tl.where(zero, NO_EXPONENT, e)


@triton.jit
def exp_of_difference(x, top, REAL: tl.constexpr):
    """exp(x - top) as one number, for x <= top; NaN where x is NaN."""
    m, e = exponential(x, top, REAL)
    return tl.where(x != x, x, m * power(e, REAL))


@triton.jit
def exp_below(x, top, KIND: tl.constexpr):
    """exp(x - top) as one number, for x <= top; NaN where x is NaN. KIND is the type that x had in memory.

    In 12 instructions (float32) or 7 (float16, bfloat16), where `exp_of_difference` takes some 25: rows of thousands of
    classes would else wait for the arithmetic and not for the memory.
    """
    if KIND == tl.float64:
        result = exp_of_difference(x, top + tl.zeros_like(x), tl.float64)
    else:
        # Far below, exp is 0, but the infinity of -inf would give NaN. (200 would be rounded away beside a large top.)
        x = tl.maximum(x, top - tl.maximum(tl.abs(top) * 0.0009765625, 200.0), propagate_nan=tl.PropagateNan.ALL)
        d = x - top
        p = d * 1.4426950408889634
        # The error of p, in nats. ln 2 = 0.693147182464599609375 - 1.904654323148236e-09.
        lost = tl.fma(p, 1.904654323148236e-09, tl.fma(p, -0.693147182464599609375, d))
        if KIND == tl.float32:  # the error of d, as in `exponential`; d is exact for shorter types, where it matters
            back = d - x
            lost += (x - (d - back)) - (top + back)
        p = tl.exp2(p)
        result = tl.fma(p, lost, p)
    return result


@triton.jit
def sum2(m1, e1, m2, e2, REAL: tl.constexpr):
    e = tl.maximum(e1, e2)
    return m1 * power(e1 - e, REAL) + m2 * power(e2 - e, REAL), e


@triton.jit
def sum3(m1, e1, m2, e2, m3, e3, REAL: tl.constexpr):
    e = tl.maximum(tl.maximum(e1, e2), e3)
    return m1 * power(e1 - e, REAL) + m2 * power(e2 - e, REAL) + m3 * power(e3 - e, REAL), e


@triton.jit
def product(m1, e1, m2, e2):
    return m1 * m2, tl.maximum(e1 + e2, MIN_EXPONENT)


@triton.jit
def normalised(m, e, REAL: tl.constexpr):
    """The same number with m in [1, 2), or 0 and the exponent `MIN_EXPONENT`."""
    zero = m == 0.0
    if REAL == tl.float32:
        bits = m.to(tl.int32, bitcast=True)
        e += ((bits >> 23) & 0xFF) - 127
        m = ((bits & 0x007FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
    else:
        bits = m.to(tl.int64, bitcast=True)
        e += ((bits >> 52) & 0x7FF).to(tl.int32) - 1023
        m = ((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000).to(tl.float64, bitcast=True)
    return tl.where(zero, 0.0, m), tl.where(zero, MIN_EXPONENT, tl.maximum(e, MIN_EXPONENT))
