// Greedy decoding: the most probable class of each frame, without repeats and blanks.
#pragma once

#include "decoding/kernels.hpp"
#include "decoding/row.hpp"
#include "simd/softmax.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class Real>
struct Largest {
  Real value;          // NaN if the row holds one
  std::int64_t clazz;  // the first of this value
};

template <class Real, int unroll>
Largest<Real> largest_class(const Real* row, std::int64_t classes) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  constexpr std::int64_t chunk = 64 * width;  // the largest value is looked up in its chunk alone
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  Largest<Real> found{-infinity, 0};
  std::int64_t start = 0;
  Vector sums[unroll] = {};  // finite if all values are
  for (std::int64_t c = 0; c < classes;) {
    const std::int64_t begin = c, end = classes - c < chunk ? classes : c + chunk;
    Vector best[unroll];
    for (Vector& b : best) b = broadcast<Vector>(-infinity);
    for (; c + unroll * width <= end; c += unroll * width) {
      for (int j = 0; j < unroll; ++j) {
        const Vector x = load<Vector>(row + c + j * width);
        best[j] = larger(x, best[j]);
        sums[j] += x;
      }
    }
    for (; c + width <= end; c += width) {
      const Vector x = load<Vector>(row + c);
      best[0] = larger(x, best[0]);
      sums[0] += x;
    }
    if (c < end) {
      best[0] = larger(load_tail(row + c, end - c), best[0]);
      sums[0] += load_first<Vector>(row + c, end - c, Real{0});
      c = end;
    }
    for (int j = 1; j < unroll; ++j) best[0] = larger(best[0], best[j]);
    const Real max = largest_of_lanes(best[0]);
    if (max > found.value) {
      found.value = max;
      start = begin;
    }
  }
  for (int j = 1; j < unroll; ++j) sums[0] += sums[j];
  if (any_lane(sums[0] - sums[0] != 0))
    for (std::int64_t c = 0; c < classes; ++c)
      if (row[c] != row[c]) return {row[c], c};
  found.clazz = start + index_of(found.value, row + start, classes - start);
  return found;
}

template <class Rows>
GreedyPath greedy_path(const Rows& rows, const Batch& batch, std::int64_t n, std::int32_t* classes, void* buffer) {
  using Real = typename Rows::Real;
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  GreedyPath path{};
  std::int64_t before = batch.blank;
  for (std::int64_t t = 0; t < batch.input_lengths[n]; ++t) {
    const Real* const values = rows.row(t, static_cast<Real*>(buffer));
    const auto [max, best] = batch.classes < 256 ? largest_class<Real, 1>(values, batch.classes)
                                                 : largest_class<Real, 4>(values, batch.classes);
    if (!(max < infinity)) {
      path.status = SearchStatus::not_finite;
      path.frame = t;
      return path;
    }
    if (max == -infinity && path.status == SearchStatus::searching) {
      path.status = SearchStatus::no_mass;
      path.frame = t;
    }
    if (batch.logits && max > -infinity) {
      Row<Real> row{values, batch.classes, nullptr, static_cast<double>(max)};
      path.log_normalisers += row.normalise();
      path.score += std::log(row.scale);  // the largest logit minus the normaliser, without a difference
    } else {
      path.score += static_cast<double>(max);
    }
    if (best != before && best != batch.blank) classes[path.count++] = static_cast<std::int32_t>(best);
    before = best;
  }
  return path;
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
