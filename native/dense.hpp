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
  return load_first<Vector>(row, count, -std::numeric_limits<Real>::infinity());
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

// The frames' exp(x - max), rows padded to whole vectors with zeros, and their sums. Many frames at once, so that the
// sums over lanes share their work. Meant for few classes: a lane adds up in Real.
template <class Real, int kFrames>
void softmax_rows(const Real* const (&rows)[kFrames], int frames, std::int64_t classes, Real* out, std::int64_t pitch,
                  FrameSum* sums) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  const std::int64_t whole = classes / width * width;
  for (int group = 0; group < frames; group += width) {
    const int count = frames - group < width ? frames - group : width;
    Vector fold[width] = {};
    for (int j = 0; j < count; ++j) {
      const Real* const row = rows[group + j];
      Vector best = broadcast<Vector>(-infinity);
      for (std::int64_t c = 0; c < whole; c += width) best = larger(load<Vector>(row + c), best);
      if (whole < classes) best = larger(load_tail(row + whole, classes - whole), best);
      fold[j] = best;
    }
    const Vector max = fold_rows(fold, [](Vector a, Vector b) { return larger(a, b); });
    // A frame in which nothing is possible: zeros, relative to anything.
    Real base[width];
    store(base, max == -infinity ? Vector{} : max);
    Vector rest[width] = {}, ones[width] = {};
    const auto add = [](Vector p, Vector& less, Vector& one) {
      const Vector largest = p == Real{1} ? broadcast<Vector>(Real{1}) : Vector{};
      less += p - largest;
      one += largest;
      return p;
    };
    for (int j = 0; j < count; ++j) {
      const Real* const row = rows[group + j];
      Real* const to = out + (group + j) * pitch;
      for (std::int64_t c = 0; c < whole; c += width)
        store(to + c, add(exp_of_nonpositive<Real>(load<Vector>(row + c) - base[j]), rest[j], ones[j]));
      if (whole < classes) {
        const Vector tail = load_tail(row + whole, classes - whole);
        store(to + whole, add(exp_of_nonpositive<Real>(tail - base[j]), rest[j], ones[j]));
      }
    }
    const auto sum = [](Vector a, Vector b) { return a + b; };
    const Vector less = fold_rows(rest, sum), more = fold_rows(ones, sum) - Real{1};
    const Vector beside = max == -infinity ? less : less + more;  // of equal largest classes, all but one
    for (int j = 0; j < count; ++j) sums[group + j] = {static_cast<double>(max[j]), static_cast<double>(beside[j])};
  }
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
    store_first(out + c, last, classes - c);
  }
}

// out[c] = scale * row[c]
template <class Real>
void scale_row(const Real* row, std::int64_t classes, Real scale, Real* out) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  std::int64_t c = 0;
  for (; c + width <= classes; c += width) store(out + c, load<Vector>(row + c) * scale);
  for (; c < classes; ++c) out[c] = row[c] * scale;
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
