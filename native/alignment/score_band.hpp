// The band of positions that the walk of a best path goes through: all of them, or, for long targets, those from which
// the score of a path that is known can still be reached.
//
// Let a path be known (a narrow walk, see `Beam`, finds it), with the score L. Let c[t] be the largest log-probability
// of frame t among the classes that the target names, and
//
//     limit[T] = L,   limit[t] a double for which, without rounding, limit[t] + c[t] <= the double before limit[t + 1].
//
// A state whose value before frame t is less than limit[t] is dropped: its value becomes -infinity. This changes
// neither the best path nor its score, by one bit:
//
// 1. If v < limit[t] and x <= c[t], then v + x, rounded, is at most limit[t] + c[t], rounded, because rounding never
//    changes the order of two numbers. This is at most the double before limit[t + 1], and so less than limit[t + 1].
//    Hence from a dropped state, every continuation ends with a score less than L.
// 2. The best score is at least L: the narrow walk adds up the same numbers in the same order, so the known path is one
//    of those over which the maximum is taken.
// 3. Call a state alive if a continuation of its value ends with a score of at least L. By 1, no state that is alive is
//    dropped. What gives an alive state its value is alive as well, and all states that tie with it are; so values of
//    alive states stay as they are, all others can only become less. The best path, traced from its end, meets alive
//    states only; at each it compares predecessors, of which the largest are alive, whether one or tied. So each
//    decision is the same.
//
// There is no bound of a rounding error in this, and no assumption that probabilities add up to one.
//
// Positions are dropped at both ends, in whole steps, after each block of frames.
#pragma once

#include "base/arena.hpp"
#include "base/range.hpp"
#include "lattice/viterbi.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// A double that is less than x by at least the distance of two doubles there. (1e-300 is for an x near 0.) So
// below(a - b) <= a - b without rounding.
inline double below(double x) { return x - ((x < 0 ? -x : x) * 0x1p-52 + 1e-300); }

// The largest value of a range.
inline double largest(const ScoreRow& row, Range range) {
  F64 high = broadcast<F64>(kImpossible);
  for (std::int64_t i = range.begin; i < range.end; i += kLanes)
    high = best(high, best(load<F64>(row.blank + i), load<F64>(row.label + i)));
  return largest_of_lanes(high);
}

class ScoreBand {
 public:
  ScoreBand() = default;
  // `limits`: whether there may be any; they take a number a frame.
  ScoreBand(std::int64_t frames, bool limits, Arena& arena)
      : frames_(frames), limits_(limits ? arena.take<double>(frames + kFramesPerBlock) : nullptr) {}

  // A walk starts before the first frame, in the blank before the first label. `drops`: whether `drop` will be called.
  void start(bool drops) {
    range_ = {0, kStep};
    drops_ = drops;
  }
  bool drops() const { return drops_; }
  void take(Range range) { range_ = range; }  // whole steps, above which all values are -infinity
  Range range() const { return range_; }

  // Of the positions `wanted`, those that can be reached within so many frames; all, where none are dropped.
  Range within(Range wanted, int frames) const {
    if (!drops_) return wanted;
    const std::int64_t end = (range_.end - 1 + frames) / kStep * kStep + kStep;
    return common(wanted, {range_.begin, end});
  }

  // Where to write the largest values of the block of frames from t on, before `require`.
  double* maxima(std::int64_t t) const { return limits_ + t; }

  // From now on, drops the states that cannot reach this score. Reads the maxima of all frames.
  void require(double score) {
    limits_[frames_] = score;
    for (std::int64_t t = frames_ - 1; t >= 0; --t) limits_[t] = below(below(limits_[t + 1]) - limits_[t]);
  }

  // The least value that may reach the required score, before frame t.
  double limit(std::int64_t t) const { return limits_[t]; }

  // Of the positions `walked`, drops whole steps at both ends, in which all values are less than the limit.
  void drop(const ScoreRow& row, Range walked, double limit) {
    range_ = walked;
    const auto hopeless = [&](std::int64_t i) { return largest(row, {i, i + kStep}) < limit; };
    for (; range_.begin < range_.end && hopeless(range_.begin); range_.begin += kStep) clear(row, range_.begin);
    for (; range_.begin < range_.end && hopeless(range_.end - kStep); range_.end -= kStep)
      clear(row, range_.end - kStep);
  }

 private:
  static void clear(const ScoreRow& row, std::int64_t step) {
    for (std::int64_t i = step; i < step + kStep; ++i) row.blank[i] = row.label[i] = kImpossible;
  }

  std::int64_t frames_ = 0;
  Range range_{};
  double* limits_ = nullptr;  // before each frame and after the last; until `require` the frames' maxima
  bool drops_ = false;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
