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

template <class Real>
FrameSum sum_frame(const Real* row, std::int64_t classes) {
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  constexpr std::int64_t chunk = 64 * width;  // what is added in Real before it is added in double
  constexpr Real infinity = std::numeric_limits<Real>::infinity();

  const Real max = largest(row, classes);
  if (max == -infinity) {  // no class is possible, unless a NaN hides among them
    for (std::int64_t c = 0; c < classes; ++c)
      if (row[c] != row[c]) return {row[c], row[c]};
    return {max, 0.0};
  }
  if (max == infinity) return {max, std::numeric_limits<double>::quiet_NaN()};  // as softmax: infinity - infinity

  Integers ties{};
  const auto without_max = [&ties, max](Vector x) {
    const Integers is_max = x == max;
    ties -= is_max;
    const Vector e = exp_of_nonpositive<Real>(x - max);
    return is_max ? Vector{} : e;
  };
  F64 sum{};
  std::int64_t c = 0;
  while (c < classes) {
    const std::int64_t end = classes - c < chunk ? classes : c + chunk;
    Vector even{}, odd{};
    for (; c + 2 * width <= end; c += 2 * width) {
      even += without_max(load<Vector>(row + c));
      odd += without_max(load<Vector>(row + c + width));
    }
    for (; c + width <= end; c += width) even += without_max(load<Vector>(row + c));
    if (c < end) odd += without_max(load_tail(row + c, end - c));
    c = end;
    even += odd;
    if constexpr (sizeof(Real) == 4) {
      sum += widen_half(half_of<F32Half>(even, 0)) + widen_half(half_of<F32Half>(even, 1));
    } else {
      sum += even;
    }
  }
  const auto count = fold_lanes<width / 2>(ties, [](Integers a, Integers b) { return a + b; });
  return {static_cast<double>(max), sum_of_lanes(sum) + static_cast<double>(count - 1)};
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
  for (; c + width <= classes; c += width) store(out + c, exp_of_nonpositive<Real>(load<Vector>(row + c) - max) * scale);
  if (c < classes) {
    const Vector last = exp_of_nonpositive<Real>(load_tail(row + c, classes - c) - max) * scale;
    std::memcpy(out + c, &last, static_cast<std::size_t>(classes - c) * sizeof(Real));
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
