// The classes that may extend a prefix in a frame: those with enough probability, the most probable first.
#pragma once

#include "decoding/order.hpp"
#include "decoding/row.hpp"
#include "decoding/search.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// For bounds that rounding errors must not make too tight.
constexpr double kSlack = 1e-6;

// Whether the larger of two probabilities has the larger product with every mass, whatever the rounding.
inline bool may_not_tie(double larger, double smaller) { return smaller < larger * (1 - 0x1p-50); }

// Writes the classes and their probabilities to `SearchState::token` and `token_probability`.
template <class Real>
class TokenSearch {
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  static constexpr std::int64_t kFew = 3;  // that are faster to insert one by one
  static constexpr int kWidth = sizeof(Vector) / sizeof(Real);
  static constexpr Real kInfinity = std::numeric_limits<Real>::infinity();

 public:
  TokenSearch(SearchState& state, const Row<Real>& row) : s_(state), row_(row) {}

  // Finds the `most` most probable classes, of those with a probability of at least `least`, without the blank. Returns
  // how many; -1 if a value of the row is NaN or too large.
  std::int64_t find(double least, std::int64_t most) {
    found_ = 0;
    if (s_.reading != Reading::named) {
      scan_probabilities(least);
    } else if (!scan_values(least, most)) {
      return -1;
    }
    sort_found();
    if (found_ <= most) return found_;
    const double least_kept = s_.token_probability[most - 1];
    std::int64_t near = most;  // and, of those that may tie with the last of them, the less probable ones
    while (near < found_ && !may_not_tie(least_kept, s_.token_probability[near])) ++near;
    return s_.token_probability[near - 1] < least_kept ? near : most;
  }

 private:
  // Sorts what was found: the largest probability first, then the lowest class.
  void sort_found() {
    if (found_ <= kFew) return insert_found();
    const Keys keys(s_.token_bits);
    for (std::int64_t r = 0; r < found_; r += kLanes)
      store(s_.new_keys + r, keys.of(load<F64>(s_.found_probability + r), r));
    double* const sorted = sort(s_.new_keys, found_, s_.runs, s_.sorting);
    if (keys.has_close(sorted, found_)) {
      const double* const p = s_.found_probability;
      order_ties(keys, sorted, found_,
                 [p](std::int32_t a, std::int32_t b) { return p[a] > p[b] || (p[a] == p[b] && a < b); });
    }
    for (std::int64_t r = 0; r < found_; ++r) {
      const std::int32_t at = keys.index(sorted[r]);
      s_.token[r] = s_.found_token[at];
      s_.token_probability[r] = s_.found_probability[at];
    }
  }

  // The same for a few.
  void insert_found() {
    for (std::int64_t r = 0; r < found_; ++r) {
      const double p = s_.found_probability[r];
      std::int64_t at = r;
      for (; at > 0 && s_.token_probability[at - 1] < p; --at) {
        s_.token[at] = s_.token[at - 1];
        s_.token_probability[at] = s_.token_probability[at - 1];
      }
      s_.token[at] = s_.found_token[r];
      s_.token_probability[at] = p;
    }
  }

  void scan_probabilities(double least) {
    if (s_.reading == Reading::all) return scan_probabilities(least, 0, row_.classes);
    for (std::uint64_t groups = s_.groups; groups != 0; groups &= groups - 1) {
      const std::int64_t c = kGroup * std::int64_t{__builtin_ctzll(groups)};
      if (c >= row_.classes) break;
      scan_probabilities(least, c, c + kGroup < row_.classes ? c + kGroup : row_.classes);
    }
  }

  void scan_probabilities(double least, std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; c += kLanes) {
      const F64 p = load<F64>(s_.probability + c);
      const unsigned bits = bits_of((I64)((p >= least) & (p > 0.0)));
      compress(s_.found_probability + found_, p, bits);
      compress(s_.found_token + found_, half_of_integers(static_cast<std::int32_t>(c)), bits);
      found_ += __builtin_popcount(bits);
    }
  }

  bool scan_values(double least, std::int64_t most) {
    Real bound = -kInfinity;
    if (least > 0) {
      const double limit = std::log(least / row_.scale) + row_.offset;
      bound = static_cast<Real>(limit - kSlack * (1 + std::fabs(limit)));
    }
    const std::int64_t count = collect(bound, most + 1);  // one may be the blank
    if (count < 0) return false;
    for (std::int64_t r = 0; r < count; r += kLanes) {
      F64 x;
      for (int j = 0; j < kLanes; ++j)
        x[j] = r + j < count ? static_cast<double>(row_.values[s_.token[r + j]]) : -static_cast<double>(kInfinity);
      store(s_.token_probability + r, row_.probabilities(x));
    }
    for (std::int64_t r = 0; r < count; ++r) {
      const double p = s_.token_probability[r];
      if (!(p <= kMostProbability)) return false;
      s_.found_probability[found_] = p;
      s_.found_token[found_] = s_.token[r];
      found_ += (p >= least) & (p > 0) & (s_.token[r] != s_.options.blank);
    }
    return true;
  }

  // Writes the classes with the `most` largest values above the bound, and maybe some more, to `token`, in their order.
  // Returns how many; -1 for NaN or +infinity, unless those are among what is written.
  std::int64_t collect(Real bound, std::int64_t most) {
    constexpr int unroll = 4;
    std::int64_t count = 0, room = 2 * most + 64, c = 0;
    for (; c + unroll * kWidth <= row_.classes; c += unroll * kWidth) {
      if (row_.next != nullptr)
        for (int j = 0; j < unroll; ++j) __builtin_prefetch(row_.next + c + j * kWidth, 0, 2);
      Integers above[unroll];
      for (int j = 0; j < unroll; ++j)
        above[j] = ~(Integers)(load<Vector>(row_.values + c + j * kWidth) <= bound);  // true for NaN
      if (!any_lane((above[0] | above[1]) | (above[2] | above[3]))) continue;
      for (int j = 0; j < unroll; ++j) {
        const unsigned bits = bits_of(above[j]);
        const auto first = static_cast<std::int32_t>(c + j * kWidth);
        if constexpr (sizeof(Real) == 4) compress(s_.token + count, integers(first), bits);
        if constexpr (sizeof(Real) == 8) compress(s_.token + count, half_of_integers(first), bits);
        count += __builtin_popcount(bits);
      }
      if (count <= room) continue;
      count = narrow(bound, count, most);
      if (count < 0) return -1;
      room = 2 * count > room ? 2 * count : room;
    }
    for (; c < row_.classes; ++c)
      if (!(row_.values[c] <= bound)) s_.token[count++] = static_cast<std::int32_t>(c);
    return count;
  }

  // Of the classes in `token`, keeps those with the `most` largest values, and of equal values those of the lowest
  // classes. No value up to the new bound in a later class is among the largest. Returns how many are kept.
  std::int64_t narrow(Real& bound, std::int64_t count, std::int64_t most) {
    Real* const values = static_cast<Real*>(s_.maxima);
    for (std::int64_t k = 0; k < count; ++k) {
      values[k] = row_.values[s_.token[k]];
      if (!(values[k] < kInfinity)) return -1;
    }
    const Real least = nth_largest(values, count, most - 1);
    // Values that are smaller by so little may have the same probability.
    bound = static_cast<Real>(static_cast<double>(least) - 2e-14);
    std::int64_t kept = 0, equal = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int32_t c = s_.token[k];
      const Real x = row_.values[c];
      s_.token[kept] = c;
      kept += x > bound || (x == least && equal < most);
      equal += x == least;
    }
    return kept;
  }

  SearchState& s_;
  const Row<Real>& row_;
  std::int64_t found_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
