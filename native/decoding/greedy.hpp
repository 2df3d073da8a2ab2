// Greedy decoding: the most probable class of each frame, without repeats and blanks.
#pragma once

#include "decoding/kernels.hpp"
#include "decoding/row.hpp"
#include "simd/softmax.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

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

template <class Rows>
GreedyPath greedy_path(const Rows& rows, const Batch& batch, std::int64_t n, std::int32_t* classes, void* buffer) {
  using Real = typename Rows::Real;
  constexpr Real infinity = std::numeric_limits<Real>::infinity();
  GreedyPath path{};
  std::int64_t before = batch.blank;
  for (std::int64_t t = 0; t < batch.input_lengths[n]; ++t) {
    const Real* const values = rows.row(t, static_cast<Real*>(buffer));
    const Real max = largest_or_nan(values, batch.classes);
    if (!(max < infinity)) {
      path.status = SearchStatus::not_finite;
      path.frame = t;
      return path;
    }
    if (max == -infinity && path.status == SearchStatus::searching) {
      path.status = SearchStatus::no_mass;
      path.frame = t;
    }
    path.score += static_cast<double>(max);
    if (batch.logits && max > -infinity) {
      Row<Real> row{values, batch.classes, static_cast<double>(max)};
      const double normaliser = row.normalise();
      path.score -= normaliser;
      path.log_normalisers += normaliser;
    }
    const std::int64_t best = index_of(max, values, batch.classes);
    if (best != before && best != batch.blank) classes[path.count++] = static_cast<std::int32_t>(best);
    before = best;
  }
  return path;
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
