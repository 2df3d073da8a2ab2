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
  typename VectorOf<Real>::Integers biased;  // in the low bits: the exponent as numbers hold it
};

// What both ways to an exponential share.
template <class Real>
struct ExponentialConstants {
  static constexpr bool kSingle = sizeof(Real) == 4;
  static constexpr int kDegree = kSingle ? 6 : 11;
  // Adding it rounds to an integer, which is left in the low bits of the sum with the bias of an exponent added.
  static constexpr Real kMagic = kSingle ? Real(0x1.8p23 + 127) : Real(0x1.8p52 + 1023);
  static constexpr Real kLog2E = kSingle ? Real(0x1.715476p0) : Real(0x1.71547652b82fep0);
  static constexpr Real kLog2ERest = kSingle ? Real(0x1.4ae0cp-26) : Real(0x1.777d0ffda0d24p-56);
  static constexpr Real kLowest = kSingle ? Real(-87.3) : Real(-708.3);  // below, e^t would be subnormal
  // One instruction scales, and flushes subnormals: far enough below, all is 0.
  static constexpr bool kFlushes = CTCKIT_VECTOR_BYTES == 64 && kSingle;
  static constexpr Real kClamp = kFlushes ? 2 * kLowest : kLowest;
};

template <class Real, class Vector = typename VectorOf<Real>::Values>
inline Power<Real> split_exponential(Vector t) {
  using K = ExponentialConstants<Real>;
  const Vector shifted = t * K::kLog2E + K::kMagic;
  const Vector n = shifted - K::kMagic;
  const Vector f = t * K::kLog2ERest + (t * K::kLog2E - n);
  return {power_of_fraction<K::kDegree>(f), n, (typename VectorOf<Real>::Integers)shifted};
}

// mantissa * 2^exponent, or 0 where `vanishes` or the result would be subnormal.
template <class Real>
inline typename VectorOf<Real>::Values scaled(const Power<Real>& power, typename VectorOf<Real>::Integers vanishes) {
  using Vector = typename VectorOf<Real>::Values;
#if CTCKIT_VECTOR_BYTES == 64
  if constexpr (ExponentialConstants<Real>::kFlushes)  // (subnormals are flushed as set for the whole call)
    return (Vector)_mm512_maskz_scalef_ps(kAll16, (__m512)power.mantissa, (__m512)power.exponent);
#endif
  constexpr int fraction_bits = sizeof(Real) == 4 ? 23 : 52;
  return vanishes ? Vector{} : power.mantissa * (Vector)(power.biased << fraction_bits);
}

// e^t for t <= 0: exactly 1 at 0; 0 at -infinity and wherever the result would be subnormal; NaN for NaN.
template <class Real, class Vector = typename VectorOf<Real>::Values>
inline Vector exp_of_nonpositive(Vector t) {
  using K = ExponentialConstants<Real>;
  return scaled<Real>(split_exponential<Real>(larger(broadcast<Vector>(K::kClamp), t)), t < K::kLowest);  // keeps NaN
}

// e^(x - max) for x <= max, as `exp_of_nonpositive`. The difference is rounded, by more the larger it is.
template <class Real>
class RoundedExponential {
  using Vector = typename VectorOf<Real>::Values;

 public:
  static constexpr bool kTakes = false;
  static Vector taken(Vector) { return Vector{}; }
  explicit RoundedExponential(Vector max) : max_(max) {}
  Vector operator()(Vector x) const { return exp_of_nonpositive<Real>(x - max_); }

  // The numbers of every lane, and those of one lane in all lanes.
  struct Lanes {
    explicit Lanes(const RoundedExponential& all) { store(max, all.max_); }
    RoundedExponential operator[](int j) const { return RoundedExponential(broadcast<Vector>(max[j])); }
    Real max[sizeof(Vector) / sizeof(Real)];
  };

 private:
  Vector max_;
};

#if defined(__FMA__) || defined(__aarch64__)
// a b + c, rounded once. (The compiler contracts as it likes: where it shares the product, not at all.)
template <class Vector>
inline Vector fused(Vector a, Vector b, Vector c) {
  constexpr bool single = sizeof(a[0]) == 4;
#if defined(__aarch64__)
  if constexpr (single) return (Vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
  if constexpr (!single) return (Vector)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#elif CTCKIT_VECTOR_BYTES == 64
  if constexpr (single) return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  return (Vector)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#else
  if constexpr (single) return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  return (Vector)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#endif
}

// x log2(e) - n, with all digits of x and n.
template <class Real, class Vector>
inline Vector rest_of_log2e(Vector x, Vector n) {
  using K = ExponentialConstants<Real>;
  return fused(x, broadcast<Vector>(K::kLog2ERest), fused(x, broadcast<Vector>(K::kLog2E), -n));
}
#else
// a b + c, rounded twice: enough to find an integer.
template <class Vector>
inline Vector fused(Vector a, Vector b, Vector c) {
  return a * b + c;
}

// x log2(e) - n, with all digits of x and n, for |n| < 2^16: the products of n and the first parts of log(2) have so
// few digits that they are exact, and so is their difference to x.
template <class Real, class Vector>
inline Vector rest_of_log2e(Vector x, Vector n) {
  using K = ExponentialConstants<Real>;
  constexpr bool single = sizeof(Real) == 4;
  constexpr Real first = single ? Real(0x1.62p-1) : Real(0x1.62e42fecp-1);
  constexpr Real second = single ? Real(0x1.c8p-10) : Real(0x1.d1cf79abc9e3bp-32);
  constexpr Real third = single ? Real(0x1.7f7d1cp-20) : Real(0);
  return (((x - n * first) - n * second) - n * third) * K::kLog2E;
}
#endif

// The same to the digits of x and max: x - max is never rounded. From x log2(e) and from max log2(e) their integers are
// taken first, and only the fractions are subtracted.
template <class Real>
class PreciseExponential {
  using K = ExponentialConstants<Real>;
  using Vector = typename VectorOf<Real>::Values;
  static constexpr Real kFar = 0x1p15;

 public:
  // What to subtract from x and from the maximum before; 0 if the maximum is small enough to find the integers.
  static constexpr bool kTakes = true;
  static Vector taken(Vector max) { return ((max > kFar) | (max < -kFar)) ? max : Vector{}; }

  explicit PreciseExponential(Vector max) {
    const Vector log2e = broadcast<Vector>(K::kLog2E);
    whole_ = fused(max, log2e, broadcast<Vector>(K::kMagic)) - K::kMagic;
    least_ = max + K::kClamp;
    rest_ = rest_of_log2e<Real>(max, whole_);  // as in `operator()`: e^0 is exactly 1
    const Vector fraction = fused(max, log2e, -whole_);
    below_ = K::kFlushes ? whole_ + fraction : fraction;
  }

  Vector operator()(Vector x) const {
    const Vector log2e = broadcast<Vector>(K::kLog2E), clamped = larger(least_, x);  // keeps NaN
    Power<Real> power;
    Vector n;  // the integer nearest to x log2(e) - fraction
#if CTCKIT_VECTOR_BYTES == 64
    if constexpr (K::kFlushes) {
      power.exponent = (Vector)_mm512_maskz_roundscale_ps(kAll16, (__m512)fused(clamped, log2e, -below_), 8);
      n = power.exponent + whole_;
    }
#endif
    if constexpr (!K::kFlushes) {
      const Vector magic = K::kMagic - whole_, shifted = fused(clamped, log2e, -below_) + magic;
      power.biased = (typename VectorOf<Real>::Integers)shifted;
      n = shifted - magic;
    }
    power.mantissa = power_of_fraction<K::kDegree>(rest_of_log2e<Real>(clamped, n) - rest_);
    return scaled<Real>(power, x < least_);
  }

  struct Lanes {
    explicit Lanes(const PreciseExponential& all) {
      store(least, all.least_);
      store(whole, all.whole_);
      store(below, all.below_);
      store(rest, all.rest_);
    }
    PreciseExponential operator[](int j) const {
      PreciseExponential one;
      one.least_ = broadcast<Vector>(least[j]);
      one.whole_ = broadcast<Vector>(whole[j]);
      one.below_ = broadcast<Vector>(below[j]);
      one.rest_ = broadcast<Vector>(rest[j]);
      return one;
    }
    Real least[sizeof(Vector) / sizeof(Real)], whole[sizeof(Vector) / sizeof(Real)];
    Real below[sizeof(Vector) / sizeof(Real)], rest[sizeof(Vector) / sizeof(Real)];
  };

 private:
  PreciseExponential() = default;

  Vector least_, whole_, below_, rest_;  // below_: what to subtract from x log2(e) before it is rounded to an integer
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
