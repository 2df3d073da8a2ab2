// The values of a best path's walk at the start of each segment. Only the range that was walked is kept, one checkpoint
// behind the other, so that memory is touched for as many positions as there are. Where there is no room for another,
// every second one can be given up.
#pragma once

#include <cstring>

#include "base/arena.hpp"
#include "base/range.hpp"
#include "lattice/viterbi.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

class ScoreCheckpoints {
 public:
  ScoreCheckpoints() = default;
  // Up to `most` checkpoints of together `positions` positions.
  ScoreCheckpoints(std::int64_t most, std::int64_t positions, Arena& arena)
      : positions_(positions), kept_(arena.take<Kept>(most)), memory_(arena.take<double>(2 * positions)) {}

  void clear() { count_ = used_ = 0; }
  bool has_room(Range range) const { return used_ + size(range) <= positions_; }
  Range range(std::int64_t k) const { return kept_[k].range; }

  void save(Range range, const ScoreRow& row) {
    kept_[count_++] = {range, used_};
    std::memcpy(memory_ + 2 * used_, row.blank + range.begin, bytes(range));
    std::memcpy(memory_ + 2 * used_ + size(range), row.label + range.begin, bytes(range));
    used_ += size(range);
  }

  // Copies positions `part` of a checkpoint's range to the row.
  void restore(std::int64_t k, Range part, const ScoreRow& row) const {
    const Range range = kept_[k].range;
    const double* const blank = memory_ + 2 * kept_[k].at + part.begin - range.begin;
    std::memcpy(row.blank + part.begin, blank, bytes(part));
    std::memcpy(row.label + part.begin, blank + size(range), bytes(part));
  }

  // Keeps the first, the third, and so on.
  void thin() {
    const std::int64_t before = count_;
    clear();
    for (std::int64_t k = 0; k < before; k += 2) {
      const Kept kept = kept_[k];
      std::memmove(memory_ + 2 * used_, memory_ + 2 * kept.at, 2 * bytes(kept.range));
      kept_[count_++] = {kept.range, used_};
      used_ += size(kept.range);
    }
  }

 private:
  struct Kept {
    Range range;
    std::int64_t at;  // positions before it in memory
  };

  static std::int64_t size(Range range) { return range.end - range.begin; }
  static std::size_t bytes(Range range) { return static_cast<std::size_t>(size(range)) * sizeof(double); }

  std::int64_t positions_ = 0, count_ = 0, used_ = 0;
  Kept* kept_ = nullptr;
  double* memory_ = nullptr;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
