"""Numbers with an exponent of their own, in Triton: what the recursion computes with on a GPU.

A state's value is m * 2^e with m float32 or float64 and e int32. A sum is brought to the largest exponent of its terms,
so that only terms 2^126 times (float64: 2^1022 times) smaller than another term *of the same sum* are lost; a product
multiplies the m and adds the e. There is no logarithm and no exponential in the recursion, and the values of states may
lie any distance apart. Every few frames the m are brought back to [1, 2) (`normalised`).

An exponent below `NEVER` counts as `NEVER`, and zero is m = 0 with an exponent near it: so a probability below
2^-(2^29) (a loss above 3.7e8 nats) is not told from one twice as small, and the sums below cannot overflow.
"""

# The code below is compiled by Triton: a language of its own, without types.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103, PLR0124, SIM300

from __future__ import annotations

import triton
import triton.language as tl

NEVER = tl.constexpr(-(1 << 29))
VOID = tl.constexpr(-(1 << 30))  # exponent of a term that is not there; and of an emission of 0
LOWEST = tl.constexpr(-2097152.0)  # an emission is exp(x - top); a smaller x - top, but for -inf, counts as this


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
    """exp(x - top) as (m, e), m about 1, for x <= top. Exactly (1, 0) for x = top. NaN gives anything."""
    d = x - top
    # What the subtraction rounded away: for classes far below the top one it is what limits the result.
    back = d - x
    lost = (x - (d - back)) - (top + back)
    zero = d == -float("inf")
    d = tl.maximum(d, LOWEST)
    # Adding and subtracting 1.5 * 2^23 (2^52) rounds to an integer, and leaves it in the low bits on the way.
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
    return tl.where(zero, 0.0, m), tl.where(zero, VOID, e)


@triton.jit
def exp_of_difference(x, top, REAL: tl.constexpr):
    """exp(x - top) as one number, for x <= top; NaN where x is NaN."""
    m, e = exponential(x, top, REAL)
    return tl.where(x != x, x, m * power(e, REAL))


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
    return m1 * m2, tl.maximum(e1 + e2, NEVER)


@triton.jit
def normalised(m, e, REAL: tl.constexpr):
    """The same number with m in [1, 2), or 0 and the exponent `NEVER`."""
    zero = m == 0.0
    if REAL == tl.float32:
        bits = m.to(tl.int32, bitcast=True)
        e += ((bits >> 23) & 0xFF) - 127
        m = ((bits & 0x007FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
    else:
        bits = m.to(tl.int64, bitcast=True)
        e += ((bits >> 52) & 0x7FF).to(tl.int32) - 1023
        m = ((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000).to(tl.float64, bitcast=True)
    return tl.where(zero, 0.0, m), tl.where(zero, NEVER, tl.maximum(e, NEVER))
