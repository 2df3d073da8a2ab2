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
    }
    std::int64_t count = 0;
    if (!collect_above(bound, 2 * most + 64, count)) count = collect_most(bound, most + 1);  // one may be the blank
    for (std::int64_t r = 0; r < count; r += kLanes) {
      F64 x;
      for (int j = 0; j < kLanes; ++j)
        x[j] = r + j < count ? static_cast<double>(row_.values[s_.token[r + j]]) : -static_cast<double>(kInfinity);
      store(s_.token_probability + r, row_.probabilities(x));
    }
    for (std::int64_t r = 0; r < count; ++r) {
      const double p = s_.token_probability[r];
      if (!(p <= kMostProbability)) return false;
      if (p >= least && p > 0) take(p, s_.token[r]);
    }
    return true;
  }

  // Writes the classes whose values are above the bound, or NaN, to `token`. Returns false if they are more than
  // `most`.
  bool collect_above(Real bound, std::int64_t most, std::int64_t& count) {
    count = 0;
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
      if (count > most) return false;
    }
    for (; c < row_.classes; ++c)
      if (!(row_.values[c] <= bound)) s_.token[count++] = static_cast<std::int32_t>(c);
    return true;
  }

  // Writes the classes with the `most` largest values, and maybe some more, to `token`; of equal values those of the
  // lowest classes. All values that are NaN or +infinity are among them.
  std::int64_t collect_most(Real bound, std::int64_t most) {
    const Real least = std::fmax(bound, bound_of_most(most));
    std::int64_t count = 0;
    collect_above(least, row_.classes, count);
    // Values as large as this, or by so little smaller that their probabilities may be equal.
    const double about = static_cast<double>(least) - 1e-14;
    std::int64_t equal = 0;
    for (std::int64_t c = 0; c < row_.classes && equal < most; ++c) {
      if (row_.values[c] > least || static_cast<double>(row_.values[c]) < about) continue;
      s_.token[count++] = static_cast<std::int32_t>(c);
      equal += row_.values[c] == least;
    }
    return count;
  }

  // A lower bound of the row's `most` largest values: the `most`-th largest of the largest values of groups.
  Real bound_of_most(std::int64_t most) {
    const std::int64_t vectors = row_.classes / kWidth;
    std::int64_t size = row_.classes / (3 * most);  // of a group
    size = size < 1 ? 1 : size > 64 ? 64 : size;
    Real* const maxima = static_cast<Real*>(s_.maxima);
    std::int64_t groups = 0;
    for (std::int64_t v = 0; v + size <= vectors; v += size, groups += kWidth) {
      Vector max = load<Vector>(row_.values + v * kWidth);
      for (std::int64_t k = 1; k < size; ++k) max = larger(load<Vector>(row_.values + (v + k) * kWidth), max);
      store(maxima + groups, max);
    }
    if (groups < most) return -kInfinity;
    for (std::int64_t k = 0; k < groups; ++k)
      if (!(maxima[k] < kInfinity)) return -kInfinity;
    return nth_largest(maxima, groups, most - 1);
  }

  SearchState& s_;
  const Row<Real>& row_;
  std::int64_t found_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
