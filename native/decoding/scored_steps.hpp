// New prefixes with scorers: the steps from the prefixes of a beam that are worth asking the scorers for.
//
// Of each prefix it is known which classes are marked, what the step by any other class gains, and what a step by a
// marked class gains at the most (see `GainSummary`). So candidates by classes that are not marked need no scorer. Of
// the others those pairs of a prefix and a class are scored whose bound reaches the beam.
#pragma once

#include "decoding/next_beam.hpp"
#include "decoding/ranking.hpp"
#include "decoding/search.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

class ScoredSteps {
  static constexpr double kAbove = 1 + 1e-12;      // more than the rounding errors of exponentials
  static constexpr std::int64_t kMostTokens = 64;  // of a turn: a bit each
  // Classes of the first turn. Each next one has twice as many, as the bound rises.
  static constexpr std::int64_t kTokens = 1, kTokensOfNarrow = 8, kNarrow = 32;

 public:
  // `total` has the masses of the prefixes. No prefix with less mass than `bound` enters the next beam.
  ScoredSteps(SearchState& state, Ranking& ranking, const double* total, double& bound)
      : s_(state), ranking_(ranking), total_(total), bound_(bound) {}

  // Returns the largest mass that a step may pass on, but for a class's probability.
  double find_largest() {
    const Beam& beam = s_.beam;
    F64 most_rest{}, largest{};
    for (std::int64_t i = 0; i < s_.size; i += kLanes) {
      const I64 marked = load<I64>(beam.marked + i), in_beam = long_integers(i) < s_.size;
      const F64 rest = ((marked != -1) & in_beam) ? load<F64>(beam.rest + i) : F64{};
      const F64 most = ((marked != 0) & in_beam) ? load<F64>(beam.most + i) : F64{};
      most_rest = larger(rest, most_rest);
      largest = larger(load<F64>(total_ + i) * larger(rest, most), largest);
    }
    most_rest_ = largest_of_lanes(most_rest);
    largest_ = largest_of_lanes(largest);
    return largest_;
  }

  // Adds the new prefixes that may enter the beam to the candidates, by the first `tokens` classes of
  // `SearchState::token`, the most probable first.
  void collect(std::int64_t tokens) {
    find_children();
    std::int64_t step = s_.whole_frames ? kMostTokens : s_.options.width < kNarrow ? kTokensOfNarrow : kTokens;
    for (first_ = 0; first_ < tokens && may_enter(largest_ * s_.token_probability[first_]); first_ = end_) {
      end_ = first_ + step < tokens ? first_ + step : tokens;
      step = 2 * step < kMostTokens ? 2 * step : kMostTokens;
      for (std::int64_t r = first_; r < end_; ++r) {
        const double known = s_.class_factor[s_.token[r]];
        s_.token_factor[r] = known != 0 ? known : class_factor(s_, s_.token[r]);
        if (may_enter(total_[0] * s_.token_probability[r] * most_rest_)) add_rest(r);
      }
      list_pairs();
      if (!s_.whole_frames) score_pairs();
      if (ranking_.not_merged() >= s_.options.width) ranking_.merge_candidates(bound_);
    }
    score_pairs();
  }

 private:
  // Whether a mass may reach the bound, whatever the rounding.
  bool may_enter(double mass) const { return mass * kAbove >= bound_; }

  static I64 bit_of(std::int32_t c) { return broadcast<I64>(std::int64_t{1} << (c & 63)); }

  // Notes which classes lead from a prefix to another one of the beam.
  void find_children() {
    for (std::int64_t i = 0; i <= s_.size; i += kLanes) store(s_.children + i, I64{});
    s_.children[s_.capacity] = 0;  // of parents that are not in the beam
    for (std::int32_t i = 0; i < s_.size; ++i)
      s_.children[parent_of(s_, i)] |= std::int64_t{1} << (s_.beam.last[i] & 63);
  }
  // Whether the step from prefix i by class c, whose bit is in `children`, leads to a prefix of the beam.
  bool is_child(std::int32_t i, std::int32_t c) const {
    if (s_.options.classes <= 64) return true;
    for (std::int32_t k = 0; k < s_.size; ++k)
      if (s_.beam.last[k] == c && parent_of(s_, k) == i) return true;
    return false;
  }

  // Candidates by class number r, from the prefixes where it is not marked.
  void add_rest(std::int64_t r) {
    const std::int32_t c = s_.token[r];
    const double p = s_.token_probability[r];
    const I64 bit = bit_of(c);
    ranking_.reserve(s_.size, bound_);
    for (std::int64_t i = 0; i < s_.size && may_enter(total_[i] * p * most_rest_); i += kLanes) {
      const auto is_last = (I64)(__builtin_convertvector(load<I32Half>(s_.beam.last + i), I64) == c);
      const F64 mass = is_last ? load<F64>(s_.beam.masses + i) : load<F64>(total_ + i);
      const F64 factor = load<F64>(s_.beam.rest + i), score = mass * p * factor;
      const I64 enters = (I64)((score >= bound_) & (score > 0.0));
      unsigned bits = bits_of(enters & (I64)((load<I64>(s_.beam.marked + i) & bit) == 0));
      if (s_.size - i < kLanes) bits &= (1u << (s_.size - i)) - 1;
      if (bits == 0) continue;
      unsigned children = bits & bits_of((I64)((load<I64>(s_.children + i) & bit) != 0));
      for (; children != 0; children &= children - 1)
        if (is_child(static_cast<std::int32_t>(i) + __builtin_ctz(children), c)) bits ^= children & -children;
      ranking_.add(score, factor, bits, half_of_integers(static_cast<std::int32_t>(i)), broadcast<I32Half>(c));
    }
    if (ranking_.not_merged() >= s_.options.width) ranking_.merge_candidates(bound_);
  }

  // Lists the pairs of a prefix and one of the classes from `first_` to `end_` that is marked there, if the pair may
  // enter the beam.
  void list_pairs() {
    const bool is_exact = s_.options.classes <= 64;  // whether a bit is of one class alone
    for (std::int64_t i = 0; i < s_.size; i += kLanes) {
      const F64 total = load<F64>(total_ + i), most = load<F64>(s_.beam.most + i);
      I64 marked = load<I64>(s_.beam.marked + i) & (I64)(long_integers(i) < s_.size);
      if (is_exact) marked &= ~load<I64>(s_.children + i);
      // (What a prefix passes on by its last class may be less than its mass.)
      const F64 reach = marked != 0 ? total * most * kAbove : F64{};
      I64 found{};
      for (std::int64_t r = first_; r < end_; ++r) {
        const double p = s_.token_probability[r];
        if (!any_lane((I64)(reach * p >= bound_))) break;
        const I64 bit = bit_of(s_.token[r]);
        const F64 gain = smaller(bound_of(i, bit, most), broadcast<F64>(s_.token_factor[r]));
        const I64 enters = (I64)(total * gain * (p * kAbove) >= bound_) & (I64)((marked & bit) != 0);
        found |= enters & (std::int64_t{1} << (r - first_));
      }
      if (!any_lane(found)) continue;
      add_pairs(static_cast<std::int32_t>(i), found, is_exact);
      if (pairs_ + kMostTokens * kLanes > s_.most_pending || (pairs_ >= s_.options.width && !s_.whole_frames)) {
        score_pairs();
        if (ranking_.not_merged() >= s_.options.width) ranking_.merge_candidates(bound_);
      }
    }
  }

  // An upper bound of the factors of steps by a class, for the prefixes from i on.
  F64 bound_of(std::int64_t i, I64 bit, F64 most) const {
    if (s_.scorer_count == 1) return most;
    F64 product = broadcast<F64>(1);
    for (std::int64_t at = i; at < s_.scorer_count * s_.capacity; at += s_.capacity) {
      const I64 is_marked = (I64)((load<I64>(s_.beam.each_marked + at) & bit) != 0);
      product *= is_marked ? load<F64>(s_.beam.each_most + at) : load<F64>(s_.beam.each_rest + at);
    }
    return product;
  }

  void add_pairs(std::int32_t first, I64 found, bool is_exact) {
    std::int64_t lanes[kLanes];
    store(lanes, found);
    for (unsigned left = bits_of((I64)(found != 0)); left != 0; left &= left - 1) {
      const int lane = __builtin_ctz(left);
      const std::int32_t i = first + lane, last = s_.beam.last[i];
      const auto all = static_cast<std::int32_t>(s_.capacity) + i;  // where `Beam::masses` has all its mass
      for (auto bits = static_cast<std::uint64_t>(lanes[lane]); bits != 0; bits &= bits - 1) {
        const auto r = static_cast<std::int32_t>(first_) + __builtin_ctzll(bits);
        const std::int32_t c = s_.token[r];
        if (!is_exact && (s_.children[i] >> (c & 63) & 1) != 0 && is_child(i, c)) continue;
        s_.pending_rank[pairs_] = i;
        s_.pending_class[pairs_] = c;
        s_.pending_token[pairs_] = r;
        s_.pending_entry[pairs_] = c == last ? i : all;
        ++pairs_;
      }
    }
  }

  // Scores the pairs, and adds those that enter the beam to the candidates.
  void score_pairs() {
    if (pairs_ == 0) return;
    score_steps(s_, pairs_);
    for (std::int32_t** const array : {&s_.pending_rank, &s_.pending_class, &s_.pending_token, &s_.pending_entry})
      store(*array + pairs_, I32Half{});  // places to read behind the last
    for (std::int64_t k = 0; k < pairs_; k += kLanes) {
      const F64 factor = exponential(load<F64>(s_.pending_gain + k));
      const F64 mass = gather(s_.beam.masses, s_.pending_entry + k);
      const F64 score = mass * gather(s_.token_probability, s_.pending_token + k) * factor;
      unsigned bits = bits_of((I64)((score >= bound_) & (score > 0.0)));
      if (pairs_ - k < kLanes) bits &= (1u << (pairs_ - k)) - 1;
      if (bits == 0) continue;
      ranking_.reserve(kLanes, bound_);
      ranking_.add(score, factor, bits, load<I32Half>(s_.pending_rank + k), load<I32Half>(s_.pending_class + k));
    }
    pairs_ = 0;
  }

  SearchState& s_;
  Ranking& ranking_;
  const double* total_;
  double& bound_;
  double most_rest_ = 0, largest_ = 0;  // the largest factor of a class that is not marked, and mass of a step
  std::int64_t first_ = 0, end_ = 0;    // classes of this turn
  std::int64_t pairs_ = 0;              // that wait to be scored
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
