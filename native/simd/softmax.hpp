// Softmax over the classes of a frame: the log-normaliser, and the softmax half of the gradient. Only the time of this
// code grows with the number of classes.
#pragma once

#include <cmath>
#include <limits>

#include "simd/elements.hpp"
#include "simd/exponential.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// The softmax of a frame is p(c) = exp(x[c] - max) / (1 + rest). `rest` is the sum over all classes but the largest, so
// that the small rest of a confident model keeps its digits.
struct FrameSum {
  double max;
  double rest;
};
constexpr double kConfident = 0.25;  // with a smaller rest, one class has most of the frame's probability

// The last, partial vector of a row, padded with -infinity.
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

// Sum of exp(row[c] - max) over [begin, end), added up in Real within a chunk, and in double across chunks.
template <class Real>
double sum_exponentials(const Real* row, std::int64_t begin, std::int64_t end, Real max) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real), unroll = 4;
  constexpr std::int64_t chunk = 16 * unroll * width;
  F64 sum{};
  std::int64_t c = begin;
  while (c < end) {
    const std::int64_t stop = end - c < chunk ? end : c + chunk;
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

// Does the same, and writes exp(row[c] - max). It also prefetches the next row: this code waits for arithmetic, not for
// memory.
template <class Real>
FrameSum exponentials_of_frame(const Real* row, std::int64_t classes, const Real* next, Real* out) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real), unroll = 4;
  constexpr std::int64_t chunk = 16 * unroll * width;
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  const Real max = largest(row, classes), base = max == -infinity ? Real{0} : max;
  F64 rest{};
  std::int64_t ones = 0;
  for (std::int64_t c = 0; c < classes;) {
    const std::int64_t stop = classes - c < chunk ? classes : c + chunk;
    Vector parts[unroll] = {}, largest_ones[unroll] = {};
    const auto add = [&](Vector p, int j) {
      const Vector one = p == Real{1} ? broadcast<Vector>(Real{1}) : Vector{};
      parts[j] += p - one;
      largest_ones[j] += one;
      return p;
    };
    for (; c + unroll * width <= stop; c += unroll * width) {
      for (int j = 0; j < unroll; ++j) {
        __builtin_prefetch(next + c + j * width);
        store(out + c + j * width, add(exp_of_nonpositive<Real>(load<Vector>(row + c + j * width) - base), j));
      }
    }
    for (; c + width <= stop; c += width)
      store(out + c, add(exp_of_nonpositive<Real>(load<Vector>(row + c) - base), 0));
    if (c < stop) {
      const Vector tail = load_tail(row + c, stop - c) - base;
      store_first(out + c, add(exp_of_nonpositive<Real>(tail), 1), stop - c);
      c = stop;
    }
    const Vector part = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    const Vector one = (largest_ones[0] + largest_ones[1]) + (largest_ones[2] + largest_ones[3]);
    if constexpr (sizeof(Real) == 4) {
      rest += widen_half(half_of<F32Half>(part, 0)) + widen_half(half_of<F32Half>(part, 1));
    } else {
      rest += part;
    }
    ones += static_cast<std::int64_t>(fold_lanes<width / 2>(one, [](Vector a, Vector b) { return a + b; }));
  }
  const double others = sum_of_lanes(rest);
  return {static_cast<double>(max), max == -infinity ? others : others + static_cast<double>(ones - 1)};
}

// out[c] = scale * row[c], past the caches: for output larger than the caches.
template <class Real>
void stream_scaled(const Real* row, std::int64_t classes, Real scale, Real* out) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  std::int64_t c = 0;
  for (; c < classes && reinterpret_cast<std::uintptr_t>(out + c) % sizeof(Vector) != 0; ++c) out[c] = row[c] * scale;
  for (; c + width <= classes; c += width) stream(out + c, load<Vector>(row + c) * scale);
  for (; c < classes; ++c) out[c] = row[c] * scale;
}

// A frame's rest from its exponentials, for a rest so small that only the largest of them is 1.
template <class Real>
CTCKIT_COLD double small_rest(const Real* exponentials, std::int64_t classes) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  Vector sum{};
  for (std::int64_t c = 0; c < classes; c += width) {
    const Vector p = load<Vector>(exponentials + c);
    sum += p == Real{1} ? Vector{} : p;
  }
  return static_cast<double>(fold_lanes<width / 2>(sum, [](Vector a, Vector b) { return a + b; }));
}

// Writes row[c] - base to `out`, and returns it.
template <class Real>
CTCKIT_COLD const Real* subtracted(const Real* row, std::int64_t classes, Real base, Real* out) {
  for (std::int64_t c = 0; c < classes; ++c) out[c] = row[c] - base;
  return out;
}

// Writes exp(x - max) of a block's frames, in rows padded to whole vectors with zeros, and the members of their
// `FrameSum`. Missing frames get the rest 0. Many frames at once share the work of sums over lanes. For few classes: a
// lane adds up in Real. `prefetch(k, c)` is called for class c of frame k: this code waits for arithmetic, not for
// memory.
template <class Exponential, class Real, int kRows, class Prefetch>
void softmax_rows(const Real* const (&rows)[kRows], int frames, std::int64_t classes, Real* out, std::int64_t pitch,
                  double* maxima, double* rests, Prefetch prefetch) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  const std::int64_t whole = classes / width * width;
  Vector nothing{};  // a row whose sum is that of a largest class alone
  nothing[0] = 1;
  for (int group = 0; group < kRows; group += width) {
    const int left = frames - group, count = left < 0 ? 0 : left < width ? left : width;
    Vector fold[width];
    for (int j = count; j < width; ++j) fold[j] = nothing;
    for (int j = 0; j < count; ++j) {
      const Real* const row = rows[group + j];
      Vector best = broadcast<Vector>(-infinity);
      for (std::int64_t c = 0; c < whole; c += width) best = larger(load<Vector>(row + c), best);
      if (whole < classes) best = larger(load_tail(row + whole, classes - whole), best);
      fold[j] = best;
    }
    const Vector max = fold_rows(fold, [](Vector a, Vector b) { return larger(a, b); });
    // A frame in which no class is possible: zeros on any scale.
    const Vector base = max == -infinity ? Vector{} : max;
    Real taken[width] = {};
    bool any_taken = false;
    if constexpr (Exponential::kTakes) {
      store(taken, Exponential::taken(base));
      any_taken = any_lane(load<Vector>(taken) != 0);
    }
    const typename Exponential::Lanes exponentials{Exponential{base - load<Vector>(taken)}};
    for (int j = 0; j < count; ++j) {
      const Real* row = rows[group + j];
      Real* const to = out + (group + j) * pitch;
      if (any_taken) row = subtracted(row, classes, taken[j], to);
      const Exponential exponential = exponentials[j];
      Vector sum{};
      for (std::int64_t c = 0; c < whole; c += width) {
        prefetch(group + j, c);
        const Vector p = exponential(load<Vector>(row + c));
        store(to + c, p);
        sum += p;
      }
      if (whole < classes) {
        prefetch(group + j, whole);
        const Vector p = exponential(load_tail(row + whole, classes - whole));
        store(to + whole, p);
        sum += p;
      }
      fold[j] = sum;
    }
    for (int j = count; j < width; ++j) fold[j] = nothing;
    const Vector rest = fold_rows(fold, [](Vector a, Vector b) { return a + b; }) - Real{1};
    store_widened(maxima + group, max);
    store_widened(rests + group, rest);
    if (!any_lane(rest < Real(kConfident))) continue;
    for (int j = 0; j < count; ++j)
      if (rest[j] < Real(kConfident)) rests[group + j] = small_rest(out + (group + j) * pitch, classes);
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
