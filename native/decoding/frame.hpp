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
// - Let a prefix have the rank i, and a class the rank r among the classes without the blank, both from 0. The new
// prefix
//   can enter only if (i + 1) r <= width: each of the i + 1 prefixes up to it has r better classes, of which at most
//   one is weakened because it repeats the last class. Where such a pair makes no new prefix, a prefix that stays has
//   its mass. This does not hold with scorers.
#pragma once

#include "decoding/order.hpp"
#include "decoding/row.hpp"
#include "decoding/search.hpp"
#include "decoding/tokens.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr int kLeastExponent = 600, kMostExponent = 800;  // of the best prefix; outside, the beam is scaled

template <class Real>
class FrameStep {
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

 public:
  FrameStep(SearchState& state, const Real* row)
      : s_(state), row_{row, state.options.classes}, total_(state.beam.masses + state.capacity) {}

  // Takes a step of the search. Returns whether it goes on.
  bool run() {
    if (s_.options.logits) {
      const Real max = row_.shift();
      if (!(max < row_.kInfinity)) return end(SearchStatus::not_finite);
      if (max > -row_.kInfinity) s_.log_normalisers += row_.normalise();
    }
    shifted_ = s_.options.logits;
    Result result = step();
    if (result == Result::out_of_range && !shifted_) {
      const Real max = row_.shift();
      if (!(max < row_.kInfinity)) return end(SearchStatus::not_finite);
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
  enum class Result { done, out_of_range };

  bool end(SearchStatus status) {
    s_.status = status;
    return false;
  }

  Result step() {
    double blank = 0;
    if (!(s_.sums_frames ? read_all(blank) : read_named(blank))) return Result::out_of_range;
    if (blank > s_.options.blank_ceiling) return apply_blank(blank);
    stay(blank);
    double least = bound_ / total_[0] * (1 - kSlack);
    if (is_scored()) least /= s_.largest_factor;
    least = least > s_.options.token_floor ? least : s_.options.token_floor;
    // The prefix of rank 0 is extended by the classes of the ranks 0 to `width`.
    const std::int64_t most = !is_scored() ? s_.options.width + std::int64_t{1} : row_.classes;
    tokens_ = TokenSearch<Real>(s_, row_).find(least, most);
    if (tokens_ < 0) return Result::out_of_range;
    found_ = 0;
    runs_ = 0;
    if (!is_scored()) {
      collect();
    } else {
      collect_scored();
    }
    return select();
  }

  // ---------------------------------------------------------------------------------------------------- probabilities

  static bool is_in_range(double p) { return p >= kLeastProbability && p <= kMostProbability; }

  // Computes the probabilities of all classes. Returns false if they are out of the beam's scale.
  bool read_all(double& blank) {
    const double sum = sum_row(row_.values, row_.classes, row_.offset,
                               [this](std::int64_t c, F64 p) { store(s_.probability + c, p); });
    if (!is_in_range(sum)) return false;
    if (row_.scale != 1)
      for (std::int64_t c = 0; c < row_.classes; c += kLanes)
        store(s_.probability + c, load<F64>(s_.probability + c) * row_.scale);
    s_.probability[row_.classes] = 0;  // of the empty prefix's last class
    blank = s_.probability[s_.options.blank];
    for (std::int32_t i = 0; i < s_.size; ++i) s_.last_probability[i] = s_.probability[s_.beam.last[i]];
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

  // --------------------------------------------------------------------------------------------------- prefixes that
  // stay

  // Computes the masses of the prefixes that stay, in the spare beam.
  void stay(double blank) {
    const Beam &from = s_.beam, &to = s_.spare;
    double* const total = to.masses + s_.capacity;
    for (std::int32_t i = 0; i < s_.size; ++i) s_.passed[i] = from.masses[from.entry[i]];
    for (std::int64_t i = 0; i < s_.size; i += kLanes) {
      const F64 last = load<F64>(s_.last_probability + i);
      F64 passed = load<F64>(s_.passed + i) * last;
      if (is_scored()) passed = passed * load<F64>(from.factor + i);
      const F64 in_blank = load<F64>(total_ + i) * blank;
      const F64 in_label = load<F64>(from.label + i) * last + passed;
      store(to.masses + i, in_blank);
      store(to.label + i, in_label);
      store(total + i, in_blank + in_label);
    }
    least_stay_ = kInfinity;
    double largest = 0;
    for (std::int32_t i = 0; i < s_.size; ++i) {
      least_stay_ = total[i] < least_stay_ ? total[i] : least_stay_;
      largest = total[i] > largest ? total[i] : largest;
    }
    bound_ = s_.size == s_.options.width ? least_stay_ : 0;
    const double cut = largest * s_.options.beam_factor;
    bound_ = cut > bound_ ? cut : bound_;
  }

  // A frame whose blank is above the ceiling: all prefixes stay, by the blank alone.
  Result apply_blank(double blank) {
    if (!s_.sums_frames) {  // a NaN or +infinity must not pass unseen
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
    while (s_.size > 0 && total[s_.size - 1] == 0) --s_.size;
    if (s_.size == 0) return Result::out_of_range;
    for (std::int32_t i = 0; i < s_.size; ++i)
      if (s_.beam.parent[i] >= s_.size) set_parent(s_.beam, i, -1);
    return Result::done;
  }

  // ---------------------------------------------------------------------------------------------------------- new
  // prefixes

  // Collects the new prefixes that may enter the beam, as sorted runs.
  void collect() {
    for (std::int64_t i = 0; i < s_.size && tokens_ > 0; i += kLanes) store(s_.source + i, load<F64>(total_ + i));
    for (std::int64_t r = 0; r < tokens_; ++r) {
      const double p = s_.token_probability[r];
      if (total_[0] * p < bound_) break;
      const std::int64_t most = r == 0 || s_.options.width / r > s_.size ? s_.size : s_.options.width / r;
      const std::int32_t c = s_.token[r];
      mark(c);
      for (std::int64_t i = 0; i < most && total_[i] * p >= bound_; i += kLanes) {
        const F64 score = load<F64>(s_.source + i) * p;
        unsigned bits = bits_of((I64)((score >= bound_) & (score > 0.0)));
        if (most - i < kLanes) bits &= (1u << (most - i)) - 1;
        for (; bits != 0; bits &= bits - 1) {
          const int j = __builtin_ctz(bits);
          add(score[j], i + j, c);
        }
      }
      unmark(c);
    }
  }

  // The same with scorers, whose gains are asked for in batches.
  void collect_scored() {
    const double most = s_.largest_factor;
    for (std::int64_t i = 0; i < s_.size && tokens_ > 0; i += kLanes) store(s_.source + i, load<F64>(total_ + i));
    std::int64_t pending = 0;
    for (std::int64_t r = 0; r < tokens_; ++r) {
      const double p = s_.token_probability[r];
      if (total_[0] * p * most < bound_) break;
      mark(s_.token[r]);
      for (std::int32_t i = 0; i < s_.size && total_[i] * p * most >= bound_; ++i) {
        if (!(s_.source[i] * p > 0)) continue;
        s_.pending_rank[pending] = i;
        s_.pending_class[pending] = s_.token[r];
        s_.pending_mass[pending++] = s_.source[i] * p;
        if (pending == s_.most_pending) add_scored(pending);
      }
      unmark(s_.token[r]);
    }
    add_scored(pending);
  }

  void add_scored(std::int64_t& pending) {
    score_steps(s_, pending);
    for (std::int64_t k = 0; k < pending; k += kLanes)
      store(s_.pending_gain + k, exponential(load<F64>(s_.pending_gain + k)));
    for (std::int64_t k = 0; k < pending; ++k) {
      const double score = s_.pending_mass[k] * s_.pending_gain[k];
      if (score >= bound_ && score > 0) add(score, s_.pending_rank[k], s_.pending_class[k]);
    }
    pending = 0;
  }

  // For the extension by class c: a prefix that ends in c passes on only the mass that ends in blank, and a prefix
  // whose extension is in the beam makes no new one.
  void mark(std::int32_t c) {
    for_each_ending_in(c, [this](std::int32_t j) { s_.source[j] = s_.beam.masses[j]; });
    for_each_ending_in(c, [this](std::int32_t j) {
      if (s_.beam.parent[j] >= 0) s_.source[s_.beam.parent[j]] = 0;
    });
  }
  void unmark(std::int32_t c) {
    for_each_ending_in(c, [this](std::int32_t j) {
      s_.source[j] = total_[j];
      if (s_.beam.parent[j] >= 0) s_.source[s_.beam.parent[j]] = total_[s_.beam.parent[j]];
    });
  }
  template <class Use>
  void for_each_ending_in(std::int32_t c, Use use) const {
    constexpr int width = sizeof(I32) / sizeof(std::int32_t);
    for (std::int32_t i = 0; i < s_.size; i += width) {
      unsigned bits = bits_of((I32)(load<I32>(s_.beam.last + i) == c));
      if (s_.size - i < width) bits &= (1u << (s_.size - i)) - 1;
      for (; bits != 0; bits &= bits - 1) use(i + __builtin_ctz(bits));
    }
  }

  void add(double score, std::int64_t rank, std::int32_t c) {
    if (found_ == s_.most_candidates) drop_candidates();
    // Above the keys of all prefixes that stay.
    const Candidate candidate{score, static_cast<std::uint64_t>(rank + 1) << 32 | static_cast<std::uint32_t>(c)};
    if (found_ == 0 || comes_before(candidate, s_.candidates[found_ - 1]))
      s_.runs[runs_++] = static_cast<std::int32_t>(found_);
    s_.candidates[found_++] = candidate;
  }

  // Keeps the `width` best of the candidates. The last of them raises the bound.
  CTCKIT_COLD void drop_candidates() {
    const Candidate* const sorted = merge_runs(s_.candidates, found_, s_.runs, runs_, s_.sorting);
    found_ = s_.options.width;
    if (sorted != s_.candidates) copy(sorted, found_, s_.candidates);
    bound_ = s_.candidates[found_ - 1].score;
    runs_ = 1;
    s_.runs[0] = 0;
  }

  // ------------------------------------------------------------------------------------------------------------- the
  // beam

  // Whether the row's values are not too small for the scale, if that has not been checked.
  bool is_enough(double best) const { return shifted_ || s_.sums_frames || best / total_[0] >= kLeastProbability; }

  Result select() {
    const double* const total = s_.spare.masses + s_.capacity;
    bool changed = found_ > 0 || !(least_stay_ > 0);
    for (std::int32_t i = 0; i + 1 < s_.size; ++i) changed |= total[i] < total[i + 1];
    if (!changed && least_stay_ >= total[0] * s_.options.beam_factor) {
      if (!is_enough(total[0])) return Result::out_of_range;
      swap_masses();
      return Result::done;
    }
    for (std::int32_t i = 0; i < s_.size; ++i) s_.stays[i] = {total[i], static_cast<std::uint64_t>(i)};
    // (`runs` holds those of the candidates.)
    const Candidate* const stays = sort_nearly_sorted(s_.stays, s_.size, s_.stay_runs, s_.chosen);
    const Candidate* const news = merge_runs(s_.candidates, found_, s_.runs, runs_, s_.sorting);
    Candidate* const chosen = stays == s_.chosen ? s_.stays : s_.chosen;
    std::int64_t count = merge(stays, s_.size, news, found_, chosen, s_.options.width);
    const double cut = chosen[0].score * s_.options.beam_factor;
    while (count > 0 && !(chosen[count - 1].score >= cut && chosen[count - 1].score > 0)) --count;
    if (count == 0) return Result::out_of_range;
    if (!is_enough(chosen[0].score)) return Result::out_of_range;
    rearrange(chosen, static_cast<std::int32_t>(count));
    return Result::done;
  }

  void swap_masses() {
    swap(s_.beam.masses, s_.spare.masses);
    swap(s_.beam.label, s_.spare.label);
  }

  template <class T>
  static void swap(T& a, T& b) {
    const T kept = a;
    a = b;
    b = kept;
  }

  // Makes the chosen prefixes the beam. `spare` has the masses of those that stay.
  void rearrange(const Candidate* chosen, std::int32_t count) {
    const Beam &from = s_.beam, &stays = s_.spare, &to = s_.next;
    const std::int64_t capacity = s_.capacity;
    std::int32_t* const moved = s_.moved;  // where a prefix is now; -1 if it has left
    for (std::int32_t i = 0; i < s_.size; ++i) moved[i] = -1;
    for (std::int32_t k = 0; k < count; ++k)
      if (is_old(chosen[k])) moved[chosen[k].key] = k;
    for (std::int32_t k = 0; k < count; ++k) {
      if (is_old(chosen[k])) {
        const auto i = static_cast<std::int32_t>(chosen[k].key);
        to.masses[k] = stays.masses[i];
        to.label[k] = stays.label[i];
        to.node[k] = from.node[i];
        to.last[k] = from.last[i];
        to.parent[k] = from.parent[i] < 0 ? -1 : moved[from.parent[i]];
        if (is_scored()) to.factor[k] = from.factor[i];
      } else {
        const auto i = static_cast<std::int32_t>((chosen[k].key >> 32) - 1);
        to.masses[k] = 0;
        to.label[k] = chosen[k].score;
        to.node[k] = -1;
        to.last[k] = static_cast<std::int32_t>(chosen[k].key & 0xffffffffu);
        to.parent[k] = moved[i];
      }
      to.masses[capacity + k] = chosen[k].score;
    }
    to.masses[2 * capacity] = 0;
    for (std::int32_t k = 0; k < count; ++k) {
      if (to.node[k] >= 0) continue;
      const auto i = static_cast<std::int32_t>((chosen[k].key >> 32) - 1);
      const PrefixTree::Child child = s_.tree->child(from.node[i], to.last[k]);
      to.node[k] = child.node;
      if (is_scored()) to.factor[k] = exponential_of(s_.tree->gain(child.node));
      if (!child.has_children) continue;
      // The prefix has come back: it may be the parent of prefixes that stayed.
      for (std::int32_t j = 0; j < count; ++j)
        if (to.node[j] >= 0 && s_.tree->parent(to.node[j]) == child.node) to.parent[j] = k;
    }
    for (std::int32_t k = 0; k < count; ++k) set_parent(to, k, to.parent[k]);
    s_.size = count;
    swap(s_.beam, s_.next);
    if (s_.tree->is_full()) compact(s_);
  }

  static bool is_old(const Candidate& candidate) { return candidate.key >> 32 == 0; }

  void set_parent(const Beam& beam, std::int32_t k, std::int32_t parent) const {
    const std::int64_t capacity = s_.capacity;
    beam.parent[k] = parent;
    const bool repeats = parent >= 0 && beam.last[parent] == beam.last[k];
    const std::int64_t entry = parent < 0 ? 2 * capacity : repeats ? parent : capacity + parent;
    beam.entry[k] = static_cast<std::int32_t>(entry);
  }

  void rescale() {
    double* const total = s_.beam.masses + s_.capacity;
    const int exponent = std::ilogb(total[0]);
    if (exponent >= kLeastExponent && exponent <= kMostExponent) return;
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
  bool shifted_ = false;
  const double* total_;  // of the beam before the frame
  std::int64_t tokens_ = 0, found_ = 0;
  std::int32_t runs_ = 0;
  double bound_ = 0;  // no prefix with less mass enters the beam
  double least_stay_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
