// A frame's emissions as probabilities: P(c) = e^(x(c) - offset) * scale.
//
// For log-probabilities the offset is 0, unless they are so far from normalised that the beam's scale would not hold
// them; then it is the row's largest value. For logits it is that value, and the scale makes the sum of the row 1.
#pragma once

#include <cmath>
#include <limits>

#include "decoding/arithmetic.hpp"
#include "decoding/search.hpp"
#include "simd/softmax.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr double kMostProbability = 0x1p87;     // that the beam's scale holds
constexpr double kLeastProbability = 0x1p-800;  // of a frame's best class, likewise
constexpr double kLeastLogProbability = -554;   // about the logarithm of that

// The largest value of a row; NaN if there is one.
template <class Real>
Real largest_or_nan(const Real* row, std::int64_t classes) {
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  Vector best[2] = {broadcast<Vector>(-infinity), broadcast<Vector>(-infinity)};
  Integers nan{};
  std::int64_t c = 0;
  for (; c + 2 * width <= classes; c += 2 * width) {
    const Vector a = load<Vector>(row + c), b = load<Vector>(row + c + width);
    best[0] = larger(a, best[0]);
    best[1] = larger(b, best[1]);
    nan |= (a != a) | (b != b);
  }
  for (; c < classes; c += width) {
    const Vector a = c + width <= classes ? load<Vector>(row + c) : load_tail(row + c, classes - c);
    best[0] = larger(a, best[0]);
    nan |= a != a;
  }
  if (any_lane(nan)) return std::numeric_limits<Real>::quiet_NaN();
  return largest_of_lanes(larger(best[0], best[1]));
}

template <class Real>
struct Row {
  static constexpr Real kInfinity = std::numeric_limits<Real>::infinity();

  const Real* values;
  std::int64_t classes;
  const Real* next = nullptr;  // the row after this one, if it may be prefetched
  double offset = 0;
  double scale = 1;

  F64 probabilities(F64 x) const { return exponential(x - offset) * scale; }

  Real largest() const { return largest_or_nan(values, classes); }

  // Sets the offset to the largest value, unless that is infinite. Returns the largest value.
  Real shift() {
    const Real max = largest();
    if (max - max == 0) offset = static_cast<double>(max);
    return max;
  }

  // Makes the sum of the row 1, and returns the log of what it was.
  double normalise() {
    return normalise(sum_row(values, classes, offset, [](std::int64_t, F64) {}));
  }
  double normalise(double sum) {
    scale = 1 / sum;
    return offset + std::log(sum);
  }
};

// The groups that have a value above a bound, or NaN; a bit each.
template <class Real>
std::uint64_t groups_above(const Real* row, std::int64_t classes, Real bound) {
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  std::uint64_t groups = 0;
  for (std::int64_t c = 0; c < classes; c += width) {
    const Vector x = c + width <= classes ? load<Vector>(row + c) : load_tail(row + c, classes - c);
    const std::uint64_t lanes = bits_of(~(Integers)(x <= bound));
    if constexpr (width == 2 * kGroup) {
      groups |= std::uint64_t{(lanes & 0xff) != 0} << (c / kGroup) | std::uint64_t{lanes >> kGroup != 0}
                                                                         << (c / kGroup + 1);
    } else {
      groups |= std::uint64_t{lanes != 0} << (c / kGroup);
    }
  }
  return groups;
}

// Counts a frame whose probabilities have a sum; infinity for a sum that is not known.
inline void add_sum(FrameSums& sums, double sum) {
  sums.least = sum < sums.least ? sum : sums.least;
  sums.largest = sum <= sums.largest ? sums.largest : sum;
  sums.product *= sum;
  if (sums.product >= 0x1p-99 && sums.product < 0x1p100) return;
  if (!(sums.product > 0 && sums.product < std::numeric_limits<double>::infinity())) return;
  const int exponent = std::ilogb(sums.product);
  sums.product = std::ldexp(sums.product, -exponent);
  sums.exponent += exponent;
}

// The n-th largest number of a row, from 0, none of which is NaN. Changes their order.
template <class Real>
Real nth_largest(Real* row, std::int64_t count, std::int64_t n) {
  std::int64_t low = 0, high = count - 1;
  while (low < high) {
    const Real pivot = row[low + (high - low) / 2];
    std::int64_t i = low, j = high;
    while (i <= j) {
      while (row[i] > pivot) ++i;
      while (pivot > row[j]) --j;
      if (i > j) break;
      const Real kept = row[i];
      row[i++] = row[j];
      row[j--] = kept;
    }
    if (n <= j) {
      high = j;
    } else if (n >= i) {
      low = i;
    } else {
      break;
    }
  }
  return row[n];
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
