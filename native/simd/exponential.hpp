// 2^y and e^t by polynomials, exact at 0.
#pragma once

#include "simd/simd.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// (2^f - 1) / f on [-1/2, 1/2]: least-squares fits of the relative error at Chebyshev nodes. Largest relative error:
// degree 6: 2e-9, 11: 4e-18.
template <int Degree>
struct PowerSeries;
template <>
struct PowerSeries<6> {
  static constexpr double c[] = {0.693147205577100434,   0.24022648462281301,    0.055503290351536305,
                                 0.00961837325135177462, 0.00133998482906962564, 0.000153707048166809342};
};
template <>
struct PowerSeries<11> {
  static constexpr double c[] = {0.693147180559945335,     0.240226506959101325,   0.055504108664819545,
                                 0.00961812910759373496,   0.00133335581468747268, 0.000154035304575188347,
                                 0.0000152527334121407174, 1.32154351062474748e-6, 1.01782292580493941e-7,
                                 7.07381015509986209e-9,   4.43072789840146544e-10};
};

template <int Degree, class Vector>
inline Vector power_of_fraction(Vector f) {
  using Element = std::remove_cvref_t<decltype(f[0])>;
  const auto& c = PowerSeries<Degree>::c;
  Vector p = broadcast<Vector>(static_cast<Element>(c[Degree - 1]));
  for (int j = Degree - 2; j >= 0; --j) p = p * f + static_cast<Element>(c[j]);
  return p * f + Element{1};
}

// e^t = mantissa * 2^exponent with mantissa in [0.7, 1.5), for |t| small enough that the exponent is exact (2^21 in
// float).
template <class Real>
struct Power {
  typename VectorOf<Real>::Values mantissa, exponent;
  typename VectorOf<Real>::Integers biased;  // the exponent in the low bits of its sum with a large number
};

template <class Real, class Vector = typename VectorOf<Real>::Values>
inline Power<Real> split_exponential(Vector t) {
  constexpr bool single = sizeof(Real) == 4;
  constexpr Real magic = single ? Real(0x1.8p23) : Real(0x1.8p52);  // adding it rounds to an integer
  constexpr Real log2e_high = single ? Real(0x1.715476p0) : Real(0x1.71547652b82fep0);
  constexpr Real log2e_low = single ? Real(0x1.4ae0cp-26) : Real(0x1.777d0ffda0d24p-56);
  const Vector shifted = t * log2e_high + magic;
  const Vector n = shifted - magic;
  const Vector f = t * log2e_low + (t * log2e_high - n);
  return {power_of_fraction<single ? 6 : 11>(f), n, (typename VectorOf<Real>::Integers)shifted};
}

// e^t for t <= 0: exactly 1 at 0; 0 at -infinity and wherever the result would be subnormal; NaN for NaN.
template <class Real, class Vector = typename VectorOf<Real>::Values>
inline Vector exp_of_nonpositive(Vector t) {
  constexpr bool single = sizeof(Real) == 4;
  constexpr Real lowest = single ? Real(-87.3) : Real(-708.3);
#if CTCKIT_VECTOR_BYTES == 64
  if constexpr (single) {  // one instruction scales and flushes subnormals (as set for the whole call)
    const Power<Real> power = split_exponential<Real>(larger(broadcast<Vector>(2 * lowest), t));
    return (Vector)_mm512_maskz_scalef_ps(kAll16, (__m512)power.mantissa, (__m512)power.exponent);
  }
#endif
  constexpr int fraction_bits = single ? 23 : 52, bias = single ? 127 : 1023;
  const Power<Real> power = split_exponential<Real>(larger(broadcast<Vector>(lowest), t));  // keeps NaN
  return t < lowest ? Vector{} : power.mantissa * (Vector)((power.biased + bias) << fraction_bits);
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
