// The classes that may extend a prefix in a frame: those with enough probability, the most probable first.
#pragma once

#include "decoding/order.hpp"
#include "decoding/row.hpp"
#include "decoding/search.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// For bounds that rounding errors must not make too tight.
constexpr double kSlack = 1e-6;

// Writes the classes and their probabilities to `SearchState::token` and `token_probability`.
template <class Real>
class TokenSearch {
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  static constexpr int kWidth = sizeof(Vector) / sizeof(Real);
  static constexpr Real kInfinity = std::numeric_limits<Real>::infinity();

 public:
  TokenSearch(SearchState& state, const Row<Real>& row) : s_(state), row_(row) {}

  // Finds the `most` most probable classes, of those with a probability of at least `least`, without the blank. Returns
  // how many; -1 if a value of the row is NaN or too large.
  std::int64_t find(double least, std::int64_t most) {
    found_ = 0;
    if (s_.sums_frames) {
      scan_probabilities(least);
    } else if (!scan_values(least, most)) {
      return -1;
    }
    const Candidate* const sorted = sort_nearly_sorted(s_.candidates, found_, s_.runs, s_.sorting);
    found_ = found_ < most ? found_ : most;
    for (std::int64_t r = 0; r < found_; ++r) {
      s_.token[r] = static_cast<std::int32_t>(sorted[r].key);
      s_.token_probability[r] = sorted[r].score;
    }
    return found_;
  }

 private:
  void take(double probability, std::int64_t c) {
    s_.candidates[found_] = {probability, static_cast<std::uint64_t>(c)};
    found_ += c != s_.options.blank;
  }

  void scan_probabilities(double least) {
    for (std::int64_t c = 0; c < row_.classes; c += kLanes) {
      const F64 p = load<F64>(s_.probability + c);
      for (unsigned bits = bits_of((I64)((p >= least) & (p > 0.0))); bits != 0; bits &= bits - 1) {
        const std::int64_t at = c + __builtin_ctz(bits);
        take(s_.probability[at], at);
      }
    }
  }

  bool scan_values(double least, std::int64_t most) {
    Real bound = -kInfinity;
    if (least > 0) {
      const double limit = std::log(least / row_.scale) + row_.offset;
      bound = static_cast<Real>(limit - kSlack * (1 + std::fabs(limit)));
    } else if (row_.classes > 64 * most) {
      bound = bound_of_blocks(most);
    }
    std::int64_t above = collect_above(bound);
    if (above > 2 * most) above = keep_largest(above, most);
    for (std::int64_t r = 0; r < above; r += kLanes) {
      F64 x;
      for (int j = 0; j < kLanes; ++j)
        x[j] = r + j < above ? static_cast<double>(row_.values[s_.token[r + j]]) : -static_cast<double>(kInfinity);
      store(s_.token_probability + r, row_.probabilities(x));
    }
    for (std::int64_t r = 0; r < above; ++r) {
      const double p = s_.token_probability[r];
      if (!(p <= kMostProbability)) return false;
      if (p >= least && p > 0) take(p, s_.token[r]);
    }
    return true;
  }

  // Writes the classes whose values are above the bound, or NaN, to `token`.
  std::int64_t collect_above(Real bound) {
    std::int64_t count = 0;
    const auto append = [&](std::int64_t c, unsigned bits) {
      for (; bits != 0; bits &= bits - 1) s_.token[count++] = static_cast<std::int32_t>(c + __builtin_ctz(bits));
    };
    constexpr int unroll = 4;
    std::int64_t c = 0;
    for (; c + unroll * kWidth <= row_.classes; c += unroll * kWidth) {
      Integers above[unroll];
      for (int j = 0; j < unroll; ++j)
        above[j] = ~(Integers)(load<Vector>(row_.values + c + j * kWidth) <= bound);  // true for NaN
      if (!any_lane((above[0] | above[1]) | (above[2] | above[3]))) continue;
      for (int j = 0; j < unroll; ++j) append(c + j * kWidth, bits_of(above[j]));
    }
    for (; c < row_.classes; ++c)
      if (!(row_.values[c] <= bound)) s_.token[count++] = static_cast<std::int32_t>(c);
    return count;
  }

  // A lower bound of the row's `most` largest values: the `most`-th largest of the largest values of blocks.
  Real bound_of_blocks(std::int64_t most) {
    const std::int64_t blocks = 4 * most, block = row_.classes / blocks / kWidth * kWidth;
    if (block == 0) return -kInfinity;
    Real* const maxima = reinterpret_cast<Real*>(s_.token_probability);
    for (std::int64_t k = 0; k < blocks; ++k) {
      Vector max = load<Vector>(row_.values + k * block);
      for (std::int64_t c = kWidth; c < block; c += kWidth)
        max = larger(load<Vector>(row_.values + k * block + c), max);  // a NaN is found later
      maxima[k] = largest_of_lanes(max);
      if (!(maxima[k] < kInfinity)) return -kInfinity;
    }
    return with_slack(nth_largest(maxima, blocks, most - 1));
  }

  // Of the collected classes keeps the `most` with the largest values, and those with nearly as large ones.
  std::int64_t keep_largest(std::int64_t count, std::int64_t most) {
    Real* const values = reinterpret_cast<Real*>(s_.token_probability);
    for (std::int64_t r = 0; r < count; ++r) {
      values[r] = row_.values[s_.token[r]];
      if (!(values[r] < kInfinity)) return count;
    }
    // One more, because the blank may be among them.
    const Real bound = with_slack(nth_largest(values, count, most));
    std::int64_t kept = 0;
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int32_t c = s_.token[r];
      s_.token[kept] = c;
      kept += row_.values[c] >= bound;
    }
    return kept;
  }

  static Real with_slack(Real bound) { return bound - static_cast<Real>(kSlack) * (1 + std::fabs(bound)); }

  SearchState& s_;
  const Row<Real>& row_;
  std::int64_t found_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
