// One frame's classes at a time: the log-normaliser, and the softmax half of the gradient. The only code whose time
// grows with the number of classes.
#pragma once

#include <cmath>
#include <limits>

#include "elements.hpp"
#include "exponential.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// A frame as its softmax needs it: p(c) = exp(x[c] - max) / (1 + rest). `rest` leaves out the largest class itself, so
// that a confident model's small rest keeps its digits.
struct FrameSum {
  double max;
  double rest;
};

// The row's last, partial vector, filled up with -infinity.
template <class Real, class Vector = typename VectorOf<Real>::Values>
inline Vector load_tail(const Real* row, std::int64_t count) {
  Vector tail = broadcast<Vector>(-std::numeric_limits<Real>::infinity());
  std::memcpy(&tail, row, static_cast<std::size_t>(count) * sizeof(Real));
  return tail;
}

template <class Real>
Real largest(const Real* row, std::int64_t classes) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real), unroll = 4;
  Vector best[unroll];
  for (auto& b : best) b = broadcast<Vector>(-std::numeric_limits<Real>::infinity());
  std::int64_t c = 0;
  for (; c + unroll * width <= classes; c += unroll * width)
    for (int j = 0; j < unroll; ++j) best[j] = larger(load<Vector>(row + c + j * width), best[j]);
  for (; c + width <= classes; c += width) best[0] = larger(load<Vector>(row + c), best[0]);
  if (c < classes) best[1] = larger(load_tail(row + c, classes - c), best[1]);
  best[0] = larger(larger(best[0], best[1]), larger(best[2], best[3]));
  return largest_of_lanes(best[0]);
}

// The first class of the given value.
template <class Real>
std::int64_t index_of(Real value, const Real* row, std::int64_t classes) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real), unroll = 4;
  std::int64_t c = 0;
  for (; c + unroll * width <= classes; c += unroll * width) {
    auto found = load<Vector>(row + c) == value;
    for (int j = 1; j < unroll; ++j) found |= load<Vector>(row + c + j * width) == value;
    if (any_lane(found)) break;
  }
  while (c < classes && row[c] != value) ++c;
  return c;
}

// Sum of exp(row[c] - max) over [begin, end), added up in Real over short stretches and in double beyond.
template <class Real>
double sum_exponentials(const Real* row, std::int64_t begin, std::int64_t end, Real max) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real), unroll = 4;
  constexpr std::int64_t stretch = 16 * unroll * width;
  F64 sum{};
  std::int64_t c = begin;
  while (c < end) {
    const std::int64_t stop = end - c < stretch ? end : c + stretch;
    Vector parts[unroll] = {};
    for (; c + unroll * width <= stop; c += unroll * width)
      for (int j = 0; j < unroll; ++j) parts[j] += exp_of_nonpositive<Real>(load<Vector>(row + c + j * width) - max);
    for (; c + width <= stop; c += width) parts[0] += exp_of_nonpositive<Real>(load<Vector>(row + c) - max);
    if (c < stop) parts[1] += exp_of_nonpositive<Real>(load_tail(row + c, stop - c) - max);
    c = stop;
    const Vector part = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    if constexpr (sizeof(Real) == 4) {
      sum += widen_half(half_of<F32Half>(part, 0)) + widen_half(half_of<F32Half>(part, 1));
    } else {
      sum += part;
    }
  }
  return sum_of_lanes(sum);
}

template <class Real>
FrameSum sum_frame(const Real* row, std::int64_t classes) {
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  const Real max = largest(row, classes);
  if (max == -infinity) {  // no class is possible, unless a NaN hides among them
    for (std::int64_t c = 0; c < classes; ++c)
      if (row[c] != row[c]) return {row[c], row[c]};
    return {max, 0.0};
  }
  if (max == infinity) return {max, std::numeric_limits<double>::quiet_NaN()};  // as softmax: infinity - infinity
  const std::int64_t argmax = index_of(max, row, classes);
  return {max, sum_exponentials(row, 0, argmax, max) + sum_exponentials(row, argmax + 1, classes, max)};
}

// out[c] = scale * exp(x[c] - max). The row may be its own output.
template <class Real>
void scaled_softmax(const Real* row, std::int64_t classes, Real max, Real scale, Real* out) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  std::int64_t c = 0;
  for (; c + 2 * width <= classes; c += 2 * width) {
    const Vector first = exp_of_nonpositive<Real>(load<Vector>(row + c) - max) * scale;
    const Vector second = exp_of_nonpositive<Real>(load<Vector>(row + c + width) - max) * scale;
    store(out + c, first);
    store(out + c + width, second);
  }
  for (; c + width <= classes; c += width)
    store(out + c, exp_of_nonpositive<Real>(load<Vector>(row + c) - max) * scale);
  if (c < classes) {
    const Vector last = exp_of_nonpositive<Real>(load_tail(row + c, classes - c) - max) * scale;
    std::memcpy(out + c, &last, static_cast<std::size_t>(classes - c) * sizeof(Real));
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
