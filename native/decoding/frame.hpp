// One frame of the prefix beam search. src/ctckit/reference/decoding.py defines it; this gives the same bits.
//
// For a prefix of the beam with mass s, of which b ends in blank and n in its last class, and a class c of probability
// P(c):
//
// - it stays with the mass s P(blank) + n P(last), and if its parent is in the beam, with what that passes on by
//   emitting the last class;
// - it is extended by c to a new prefix with the mass s P(c), or b P(c) if c is its last class.
//
// The `width` largest of all these are the new beam. Few of the new prefixes need to be looked at:
//
// - If the beam is full, the least mass of those that stay is a lower bound of the new beam.
// - Let a prefix have the rank i, and a class the rank r among the classes without the blank, both from 0. The new one
//   can enter only if (i + 1) r <= width: each of the i + 1 prefixes up to it has r better classes, of which at most
//   one is weakened because it repeats the last class. Where such a pair makes no new prefix, a prefix that stays has
//   its mass. This does not hold with scorers. (The rank does not count classes that are more probable by so little
//   that products may be rounded to the same number: a tie is decided by the class.)
#pragma once

#include "decoding/next_beam.hpp"
#include "decoding/ranking.hpp"
#include "decoding/row.hpp"
#include "decoding/scored_steps.hpp"
#include "decoding/search.hpp"
#include "decoding/tokens.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr double kLeastTotal = 0x1p600, kMostTotal = 0x1p801;  // of the best prefix; outside, the beam is scaled

template <class Real>
class FrameStep {
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

 public:
  FrameStep(SearchState& state, const Real* row, const Real* next)
      : s_(state),
        row_{row, state.options.classes, next},
        ranking_(state),
        total_(state.beam.masses + state.capacity),
        scored_steps_(state, ranking_, total_, bound_) {}

  // Takes a step of the search. Returns whether it goes on.
  bool run() {
    if (s_.options.logits) {
      const Real max = row_.shift();
      if (!(max < row_.kInfinity)) return end(SearchStatus::not_finite);
      if (max > -row_.kInfinity && s_.reading == Reading::named) s_.log_normalisers += row_.normalise();
    }
    shifted_ = s_.options.logits;
    Result result = step();
    if (result != Result::done && !shifted_) {
      const Real max = row_.shift();
      if (!(max < row_.kInfinity)) return end(SearchStatus::not_finite);
      if (result == Result::nothing_left && static_cast<double>(max) >= kLeastLogProbability)
        return end(SearchStatus::no_mass);
      shifted_ = true;
      result = step();
      s_.log_offset += row_.offset;
    }
    if (result != Result::done) return end(SearchStatus::no_mass);
    rescale();
    ++s_.frames;
    return true;
  }

 private:
  enum class Result { done, out_of_range, nothing_left };

  bool end(SearchStatus status) {
    s_.status = status;
    return false;
  }

  Result step() {
    double blank = 0;
    if (!(s_.reading == Reading::named ? read_named(blank) : read_many(blank))) return Result::out_of_range;
    if (blank > threshold(s_.options.blank_ceiling)) return apply_blank(blank);
    stay(blank);
    const double least = bound_ / (is_scored() ? scored_steps_.find_largest() : total_[0]) * (1 - kSlack);
    const double floor = threshold(s_.options.token_floor);
    // The prefix of rank 0 is extended by the classes of the ranks 0 to `width`.
    const std::int64_t most = !is_scored() ? s_.options.width + std::int64_t{1} : row_.classes;
    tokens_ = TokenSearch<Real>(s_, row_).find(least > floor ? least : floor, most);
    if (tokens_ < 0) return Result::out_of_range;
    ranking_.clear();
    if (tokens_ > 0) {
      if (is_scored()) {
        scored_steps_.collect(tokens_);
      } else {
        collect();
      }
    }
    return select();
  }

  // A threshold of probabilities, as those of a frame with an offset are to be compared with.
  double threshold(double probability) const {
    const bool is_changed = row_.offset != 0 && !s_.options.logits && probability > 0 && probability < kInfinity;
    return is_changed ? probability * std::exp(-row_.offset) : probability;
  }

  // ---------------------------------------------------------------------------------------------------- probabilities

  static bool is_in_range(double p) { return p >= kLeastProbability && p <= kMostProbability; }

  // Computes the probabilities of all classes, or of groups. Returns false if they are out of the beam's scale.
  bool read_many(double& blank) {
    if (!(s_.reading == Reading::groups && !shifted_ ? read_groups() : read_all())) return false;
    s_.probability[row_.classes] = 0;  // of the empty prefix's last class
    blank = s_.probability[s_.options.blank];
    s_.probability[s_.options.blank] = 0;  // it extends no prefix
    return true;
  }

  // Of the groups with the blank, with the last class of a prefix, and with a class above the least value.
  bool read_groups() {
    static_assert(kGroup == kSumLanes);
    std::uint64_t groups = s_.last_groups | std::uint64_t{1} << (s_.options.blank / kGroup);
    groups |= groups_above(row_.values, row_.classes, static_cast<Real>(s_.least_value));
    s_.groups = groups & ~std::uint64_t{0} >> (64 - (row_.classes + kGroup - 1) / kGroup);
    F64 sums{};
    for (groups = s_.groups; groups != 0; groups &= groups - 1) {
      const std::int64_t c = kGroup * std::int64_t{__builtin_ctzll(groups)};
      for (int j = 0; j < kSumVectors; ++j) {
        const F64 x = c + kGroup <= row_.classes ? load_widened(row_.values + c + j * kLanes)
                                                 : load_last(row_.values + c, row_.classes - c, j * kLanes);
        const F64 p = exponential(x);
        store(s_.probability + c + j * kLanes, p);
        sums += p;
      }
    }
    return is_in_range(sum_of_lanes(sums)) || read_all();  // (also NaN is in a group)
  }

  bool read_all() {
    s_.groups = ~std::uint64_t{0};
    const double sum = sum_row(row_.values, row_.classes, row_.offset,
                               [this](std::int64_t c, F64 p) { store(s_.probability + c, p); });
    if (!is_in_range(sum)) return false;
    if (s_.options.logits) s_.log_normalisers += row_.normalise(sum);
    if (row_.scale != 1)
      for (std::int64_t c = 0; c < row_.classes; c += kLanes)
        store(s_.probability + c, load<F64>(s_.probability + c) * row_.scale);
    if (!s_.options.logits) add_sum(s_.sums, shifted_ ? kInfinity : sum);
    return true;
  }

  // Computes the probabilities of the blank and of each prefix's last class. Returns false if one is NaN or too large.
  bool read_named(double& blank) {
    double* const out = s_.last_probability;
    F64 most = broadcast<F64>(kMostProbability);
    I64 wrong{};
    for (std::int32_t i = 0; i <= s_.size; i += kLanes) {  // one more, for the blank
      F64 x;
      for (int j = 0; j < kLanes; ++j) {
        const std::int64_t c = i + j < s_.size    ? s_.beam.last[i + j]
                               : i + j == s_.size ? s_.options.blank
                                                  : row_.classes;
        x[j] = c < row_.classes ? static_cast<double>(row_.values[c]) : -kInfinity;
      }
      const F64 p = row_.probabilities(x);
      wrong |= ~(I64)(p <= most);
      store(out + i, p);
    }
    blank = out[s_.size];
    out[s_.size] = 0;
    return !any_lane(wrong);
  }

  bool is_scored() const { return s_.scorer_count > 0; }

  // ----------------------------------------------------------------------------------------- prefixes that stay

  // Computes the masses of the prefixes that stay, in the spare beam, and their keys.
  void stay(double blank) {
    const Beam &from = s_.beam, &to = s_.spare;
    double* const total = to.masses + s_.capacity;
    F64 least = broadcast<F64>(kInfinity), largest{};
    for (std::int64_t i = 0; i < s_.size; i += kLanes) {
      const F64 last =
          s_.reading == Reading::named ? load<F64>(s_.last_probability + i) : gather(s_.probability, from.last + i);
      F64 passed = gather(from.masses, from.entry + i) * last;
      if (is_scored()) passed = passed * load<F64>(from.factor + i);
      const F64 in_blank = load<F64>(total_ + i) * blank;
      const F64 in_label = load<F64>(from.label + i) * last + passed;
      const F64 sum = in_blank + in_label;
      store(to.masses + i, in_blank);
      store(to.label + i, in_label);
      store(total + i, sum);
      store(s_.keys + i, ranking_.keys().of(sum, i));
      least = smaller(long_integers(i) < s_.size ? sum : broadcast<F64>(kInfinity), least);
      largest = larger(sum, largest);
    }
    store(total + s_.size, F64{});
    least_stay_ = -largest_of_lanes(-least);
    const double cut = largest_of_lanes(largest) * s_.options.beam_factor;
    bound_ = s_.size == s_.options.width ? least_stay_ : 0;
    bound_ = cut > bound_ ? cut : bound_;
  }

  // A frame whose blank is above the ceiling: all prefixes stay, by the blank alone.
  Result apply_blank(double blank) {
    if (s_.reading == Reading::named) {  // a NaN or +infinity must not pass unseen
      const Real max = row_.largest();
      if (!(max < row_.kInfinity)) return Result::out_of_range;
    }
    double* const total = s_.beam.masses + s_.capacity;
    for (std::int64_t i = 0; i < s_.size; i += kLanes) {
      const F64 mass = load<F64>(total + i) * blank;
      store(s_.beam.masses + i, mass);
      store(total + i, mass);
      store(s_.beam.label + i, F64{});
    }
    const std::int32_t before = s_.size;
    const double cut = total[0] * s_.options.beam_factor;
    while (s_.size > 0 && !(total[s_.size - 1] >= cut && total[s_.size - 1] > 0)) --s_.size;
    if (s_.size == 0) return Result::nothing_left;
    if (s_.size == before) return Result::done;
    for (std::int32_t i = 0; i < s_.size; ++i)
      if (parent_of(s_, i) >= s_.size) s_.beam.entry[i] = no_entry(s_);
    clear_behind(s_, s_.beam, s_.size);
    return Result::done;
  }

  // ---------------------------------------------------------------------------------------------- new prefixes

  // Collects the new prefixes that may enter the beam.
  void collect() {
    for (std::int64_t i = 0; i < s_.size; i += kLanes) store(s_.source + i, load<F64>(total_ + i));
    std::int64_t near = 0, equal = 0;  // the first class whose products may be equal to this one's; that is as probable
    for (std::int64_t r = 0; r < tokens_; ++r) {
      const double p = s_.token_probability[r];
      if (total_[0] * p < bound_) break;
      if (p < s_.token_probability[equal]) equal = r;
      while (may_not_tie(s_.token_probability[near], p)) ++near;
      const std::int64_t rank = r - (equal - near);
      const std::int64_t most = rank == 0 || s_.options.width / rank > s_.size ? s_.size : s_.options.width / rank;
      const std::int32_t c = s_.token[r];
      ranking_.reserve(most, bound_);
      mark(c);
      for (std::int64_t i = 0; i < most && total_[i] * p >= bound_; i += kLanes) {
        const F64 score = load<F64>(s_.source + i) * p;
        unsigned bits = bits_of((I64)((score >= bound_) & (score > 0.0)));
        if (most - i < kLanes) bits &= (1u << (most - i)) - 1;
        ranking_.add(score, bits, static_cast<std::int32_t>(i), c);
      }
      unmark();
      if (ranking_.not_merged() >= s_.options.width) ranking_.merge_candidates(bound_);
    }
  }

  // For the extension by class c: a prefix that ends in c passes on only the mass that ends in blank, and a prefix
  // whose extension is in the beam makes no new one.
  void mark(std::int32_t c) {
    constexpr int width = sizeof(I32) / sizeof(std::int32_t);
    matches_ = 0;
    for (std::int32_t i = 0; i < s_.size; i += width) {
      const unsigned bits = bits_of((I32)(load<I32>(s_.beam.last + i) == c));
      compress(s_.matches + matches_, integers(i), bits);
      matches_ += __builtin_popcount(bits);
    }
    for (std::int32_t k = 0; k < matches_; ++k) s_.source[s_.matches[k]] = s_.beam.masses[s_.matches[k]];
    for (std::int32_t k = 0; k < matches_; ++k) s_.source[parent_of(s_, s_.matches[k])] = 0;
  }
  void unmark() {
    for (std::int32_t k = 0; k < matches_; ++k) {
      const std::int32_t i = s_.matches[k], above = parent_of(s_, i);
      s_.source[i] = total_[i];
      s_.source[above] = total_[above];
    }
  }

  // -------------------------------------------------------------------------------------------------- the beam

  // Whether the row's values are not too small for the scale, if that has not been checked.
  bool is_enough(double best) const {
    return shifted_ || s_.reading != Reading::named || best / total_[0] >= kLeastProbability;
  }

  Result select() {
    const double best = s_.spare.masses[s_.capacity];
    if (!ranking_.has_candidates() && least_stay_ > 0 && ranking_.stays_in_order() &&
        least_stay_ >= best * s_.options.beam_factor) {
      if (!is_enough(best)) return Result::out_of_range;
      swap_masses();
      return Result::done;
    }
    if (ranking_.count() == 0 || ranking_.not_merged() > 0) ranking_.merge_candidates(bound_);
    const double largest = ranking_.score(0), cut = largest * s_.options.beam_factor;
    std::int64_t count = ranking_.count();
    for (; count > 0; --count) {
      const double score = ranking_.score(count - 1);
      if (score >= cut && score > 0) break;
    }
    if (count == 0) return Result::nothing_left;
    if (!is_enough(largest)) return Result::out_of_range;
    rearrange(s_, ranking_.keys(), static_cast<std::int32_t>(count));
    return Result::done;
  }

  void swap_masses() {
    exchange(s_.beam.masses, s_.spare.masses);
    exchange(s_.beam.label, s_.spare.label);
  }

  void rescale() {
    double* const total = s_.beam.masses + s_.capacity;
    if (total[0] >= kLeastTotal && total[0] < kMostTotal) return;
    const int exponent = std::ilogb(total[0]);
    for (int left = 700 - exponent; left != 0;) {  // in steps that a double holds
      const int step = left > 1000 ? 1000 : left < -1000 ? -1000 : left;
      const double factor = std::ldexp(1.0, step);
      for (std::int64_t i = 0; i < s_.size; i += kLanes) {
        store(s_.beam.masses + i, load<F64>(s_.beam.masses + i) * factor);
        store(total + i, load<F64>(total + i) * factor);
        store(s_.beam.label + i, load<F64>(s_.beam.label + i) * factor);
      }
      s_.exponent -= step;
      left -= step;
    }
  }

  SearchState& s_;
  Row<Real> row_;
  Ranking ranking_;
  bool shifted_ = false;
  const double* total_;  // of the beam before the frame
  std::int64_t tokens_ = 0;
  std::int32_t matches_ = 0;
  double bound_ = 0;  // no prefix with less mass enters the beam
  ScoredSteps scored_steps_;
  double least_stay_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
