// A frame's emissions as probabilities: P(c) = e^(x(c) - offset) * scale.
//
// For log-probabilities the offset is 0, unless they are so far from normalised that the beam's scale would not hold
// them; then it is the row's largest value. For logits it is that value, and the scale makes the sum of the row 1.
#pragma once

#include <cmath>
#include <limits>

#include "decoding/arithmetic.hpp"
#include "decoding/search.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr double kMostProbability = 0x1p87;     // that the beam's scale holds
constexpr double kLeastProbability = 0x1p-800;  // of a frame's best class, likewise

template <class Real>
struct Row {
  static constexpr Real kInfinity = std::numeric_limits<Real>::infinity();

  const Real* values;
  std::int64_t classes;
  double offset = 0;
  double scale = 1;

  F64 probabilities(F64 x) const { return exponential(x - offset) * scale; }

  // The largest value; NaN if there is one.
  Real largest() const {
    Real max = -kInfinity;
    for (std::int64_t c = 0; c < classes; ++c) {
      if (values[c] != values[c]) return values[c];
      max = values[c] > max ? values[c] : max;
    }
    return max;
  }

  // Sets the offset to the largest value, unless that is infinite. Returns the largest value.
  Real shift() {
    const Real max = largest();
    if (max - max == 0) offset = static_cast<double>(max);
    return max;
  }

  // Makes the sum of the row 1, and returns the log of what it was.
  double normalise() {
    const double sum = sum_row(values, classes, offset, [](std::int64_t, F64) {});
    scale = 1 / sum;
    return offset + std::log(sum);
  }
};

// Counts a frame whose probabilities have a sum; infinity for a sum that is not known.
inline void add_sum(FrameSums& sums, double sum) {
  sums.least = sum < sums.least ? sum : sums.least;
  sums.largest = sum <= sums.largest ? sums.largest : sum;
  sums.product *= sum;
  if (!(sums.product > 0 && sums.product < std::numeric_limits<double>::infinity())) return;
  const int exponent = std::ilogb(sums.product);
  if (exponent > -100 && exponent < 100) return;
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
