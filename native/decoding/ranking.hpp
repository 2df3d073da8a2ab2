// The order of the prefixes that compete for places in the new beam: those that stay, and the candidates.
//
// They have indices: a prefix that stays its rank, and a candidate `size` and more. Those that are known to be among
// the best are a row of sorted keys, see order.hpp.
#pragma once

#include "decoding/order.hpp"
#include "decoding/search.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class T>
inline void exchange(T& a, T& b) {
  const T kept = a;
  a = b;
  b = kept;
}

class Ranking {
 public:
  explicit Ranking(SearchState& state) : s_(state), keys_(state.index_bits) {}

  // Begins anew, with prefixes that stay alone. Their keys are in `SearchState::keys`.
  void clear() {
    found_ = merged_ = count_ = 0;
    is_sorted_ = false;
  }
  const Keys& keys() const { return keys_; }

  // Whether the prefixes that stay are in order.
  bool stays_in_order() const {
    const double* const total = s_.spare.masses + s_.capacity;
    I64 wrong{};
    for (std::int64_t i = 0; i < s_.size; i += kLanes)  // (behind them are zeros)
      wrong |= (I64)(load<F64>(total + i) < load<F64>(total + i + 1));
    return !any_lane(wrong);
  }

  // Makes room for more candidates.
  void reserve(std::int64_t count, double& bound) {
    if (found_ + count > s_.most_candidates) drop_candidates(bound);
  }
  // Appends candidates for the lanes of `bits`. There must be room.
  void add(F64 scores, unsigned bits, std::int32_t first_rank, std::int32_t c) {
    compress(s_.candidates.score + found_, scores, bits);
    compress(s_.candidates.rank + found_, half_of_integers(first_rank), bits);
    store(s_.candidates.last + found_, broadcast<I32Half>(c));
    found_ += __builtin_popcount(bits);
  }
  // The same with the scorers' factors.
  void add(F64 scores, F64 factors, unsigned bits, I32Half ranks, I32Half classes) {
    compress(s_.candidates.score + found_, scores, bits);
    compress(s_.candidates.factor + found_, factors, bits);
    compress(s_.candidates.rank + found_, ranks, bits);
    compress(s_.candidates.last + found_, classes, bits);
    found_ += __builtin_popcount(bits);
  }
  bool has_candidates() const { return found_ > 0; }
  std::int64_t not_merged() const { return found_ - merged_; }

  // Merges the candidates since the last time with those that were kept and the prefixes that stay. The `width` best
  // are kept. The last of them raises the bound.
  void merge_candidates(double& bound) {
    if (!is_sorted_) {
      is_sorted_ = true;
      count_ = s_.size;
      if (!stays_in_order()) {
        const double* const sorted = sort_nearly_sorted(s_.keys, s_.size, s_.runs, s_.sorting);
        if (sorted != s_.keys) exchange(s_.keys, s_.sorting);
      }
    }
    const std::int64_t count = found_ - merged_;
    if (count > 0) {
      for (std::int64_t k = 0; k < count; k += kLanes)
        store(s_.new_keys + k, keys_.of(load<F64>(s_.candidates.score + merged_ + k), s_.size + merged_ + k));
      const double* const added = sort(s_.new_keys, count, s_.runs, s_.sorting);
      pad(s_.keys, count_);
      merge(s_.keys, s_.keys + padded_to_vectors(count_), added, added + padded_to_vectors(count), s_.merged_keys);
      exchange(s_.merged_keys, s_.keys);
      count_ += count;
      merged_ = found_;
    }
    if (keys_.has_close(s_.keys, count_))
      order_ties(keys_, s_.keys, count_, [this](std::int32_t a, std::int32_t b) { return comes_before(a, b); });
    if (count_ < s_.options.width) return;
    count_ = s_.options.width;
    const double least = keys_.least(s_.keys[count_ - 1]);
    bound = least > bound ? least : bound;
  }

  // The sorted prefixes: how many, the index of one, and its score.
  std::int64_t count() const { return count_; }
  std::int32_t index(std::int64_t k) const { return keys_.index(s_.keys[k]); }
  double score(std::int64_t k) const { return score_of(index(k)); }

 private:
  CTCKIT_COLD void drop_candidates(double& bound) {
    merge_candidates(bound);
    const Candidates &from = s_.candidates, &to = s_.other_candidates;
    found_ = 0;
    for (std::int64_t k = 0; k < count_; ++k) {
      const std::int32_t index = keys_.index(s_.keys[k]);
      if (index < s_.size) continue;
      to.score[found_] = from.score[index - s_.size];
      if (s_.scorer_count > 0) to.factor[found_] = from.factor[index - s_.size];
      to.rank[found_] = from.rank[index - s_.size];
      to.last[found_] = from.last[index - s_.size];
      s_.keys[k] = keys_.of(broadcast<F64>(to.score[found_]), s_.size + found_)[0];
      ++found_;
    }
    merged_ = found_;
    exchange(s_.candidates, s_.other_candidates);
  }

  double score_of(std::int32_t index) const {
    return index < s_.size ? s_.spare.masses[s_.capacity + index] : s_.candidates.score[index - s_.size];
  }
  bool comes_before(std::int32_t a, std::int32_t b) const {
    const double a_score = score_of(a), b_score = score_of(b);
    if (a_score != b_score) return a_score > b_score;
    if (a < s_.size || b < s_.size) return a < b;
    const std::int32_t a_rank = s_.candidates.rank[a - s_.size], b_rank = s_.candidates.rank[b - s_.size];
    if (a_rank != b_rank) return a_rank < b_rank;
    return s_.candidates.last[a - s_.size] < s_.candidates.last[b - s_.size];
  }

  SearchState& s_;
  const Keys keys_;
  std::int64_t found_ = 0, merged_ = 0;  // candidates, and those of them that are in the row
  std::int64_t count_ = 0;               // of the row
  bool is_sorted_ = false;               // the prefixes that stay are in the row
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
