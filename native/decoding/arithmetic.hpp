// Arithmetic that gives the same bits on every instruction set: without contracted products, and with sums in a fixed
// order. Files that include this are compiled with -ffp-contract=off.
#pragma once

#include <cstdint>
#include <limits>

#include "decoding/standard_mode.hpp"
#include "simd/exponential.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// The order of sums does not depend on the width of a vector.
constexpr int kSumLanes = 8;
constexpr int kSumVectors = kSumLanes / kLanes;

constexpr double kLowestExponent = -708.3;  // below, e^x is 0
constexpr double kHighestExponent = 709;    // above, e^x is that of this

// 2^f for f in [-1/2, 1/2], by Estrin's scheme: half as many operations wait for each other as with Horner's.
inline F64 estrin_power(F64 f) {
  const auto& c = PowerSeries<11>::c;
  const F64 f2 = f * f, f4 = f2 * f2;
  const F64 low = (f * c[1] + c[0]) + (f * c[3] + c[2]) * f2;
  const F64 middle = (f * c[5] + c[4]) + (f * c[7] + c[6]) * f2;
  const F64 high = (f * c[9] + c[8]) + f2 * c[10];
  return ((low + middle * f4) + high * (f4 * f4)) * f + 1.0;
}

// e^x, to 3e-16 of its size; NaN for NaN.
inline F64 exponential(F64 x) {
  using K = ExponentialConstants<double>;
  const F64 clamped =
      larger(broadcast<F64>(kLowestExponent), smaller(broadcast<F64>(kHighestExponent), x));  // keeps NaN
  const F64 shifted = clamped * K::kLog2E + K::kMagic;
  const F64 n = shifted - K::kMagic;
  // The first product and its difference are exact.
  const F64 f = ((clamped - n * 0x1.62e42fecp-1) - n * 0x1.d1cf79abc9e3bp-32) * K::kLog2E;
  const F64 scale = (F64)((I64)shifted << 52);
  return x < kLowestExponent ? F64{} : estrin_power(f) * scale;
}
inline double exponential_of(double x) { return exponential(broadcast<F64>(x))[0]; }

// A bit for each lane of a comparison.
inline unsigned bits_of(I64 mask) {
#if CTCKIT_VECTOR_BYTES == 64
  return _mm512_movepi64_mask((__m512i)mask);
#elif CTCKIT_VECTOR_BYTES == 32
  return static_cast<unsigned>(_mm256_movemask_pd((__m256d)mask));
#else
  return static_cast<unsigned>((mask[0] & 1) | (mask[1] & 2));
#endif
}
inline unsigned bits_of(I32 mask) {
#if CTCKIT_VECTOR_BYTES == 64
  return _mm512_movepi32_mask((__m512i)mask);
#elif CTCKIT_VECTOR_BYTES == 32
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)mask));
#else
  return static_cast<unsigned>((mask[0] & 1) | (mask[1] & 2) | (mask[2] & 4) | (mask[3] & 8));
#endif
}

// Of the last `count` classes of a row, fewer than kSumLanes: lanes [first, first + kLanes); -infinity beyond the last.
template <class Real>
inline F64 load_last(const Real* row, std::int64_t count, int first) {
  constexpr Real filler = -std::numeric_limits<Real>::infinity();
  if constexpr (sizeof(Real) == 8) {
    const std::int64_t left = count - first;
    return left >= kLanes ? load<F64>(row + first) : load_first<F64>(row + first, left > 0 ? left : 0, filler);
  } else if constexpr (kLanes > 2) {
    return widen_half(half_of<F32Half>(load_first<F32>(row, count, filler), first / kLanes));
  } else {
    F64 values = broadcast<F64>(static_cast<double>(filler));
    for (int j = 0; j < kLanes; ++j)
      if (first + j < count) values[j] = static_cast<double>(row[first + j]);
    return values;
  }
}

// Elements of an array.
template <std::size_t... Lane>
inline F64 gather(const double* from, const std::int32_t* indices, std::index_sequence<Lane...>) {
  return F64{from[indices[Lane]]...};
}
inline F64 gather(const double* from, const std::int32_t* indices) {
  return gather(from, indices, std::make_index_sequence<kLanes>{});
}

// Calls `use` with the first of kLanes classes and their e^(x - offset), for all classes of a row, and returns the sum.
// The classes are padded with zeros to whole groups of kSumLanes.
template <class Real, class Use>
inline double sum_row(const Real* row, std::int64_t classes, double offset, Use use) {
  F64 sums[kSumVectors] = {};
  std::int64_t c = 0;
  for (; c + kSumLanes <= classes; c += kSumLanes) {
    for (int j = 0; j < kSumVectors; ++j) {
      const F64 p = exponential(load_widened(row + c + j * kLanes) - offset);
      use(c + j * kLanes, p);
      sums[j] += p;
    }
  }
  if (c < classes) {
    for (int j = 0; j < kSumVectors; ++j) {
      const F64 p = exponential(load_last(row + c, classes - c, j * kLanes) - offset);
      use(c + j * kLanes, p);
      sums[j] += p;
    }
  }
  double lanes[kSumLanes];
  for (int j = 0; j < kSumVectors; ++j) store(lanes + j * kLanes, sums[j]);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
