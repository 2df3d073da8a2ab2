// How the frames of an item are cut into segments, and the states at the start of each segment (checkpoints), from
// which it can be walked again.
#pragma once

#include <cstring>

#include "base/arena.hpp"
#include "lattice/target.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr std::int64_t kCacheBytes = std::int64_t{1} << 20;  // of a core's second-level cache

// The frames of a segment of the loss, which keeps `frame_bytes` for each; a checkpoint takes `checkpoint_bytes`. One
// segment if all frames fit into the second-level cache. Else segments of half its size, or longer, so that checkpoints
// take at most 8 MiB, or, where that is impossible, the length with the smallest sum of kept frames and checkpoints.
// Several segments are not longer than `preferred` frames, unless checkpoints would take more.
inline std::int64_t segment_length(std::int64_t frames, std::int64_t frame_bytes, std::int64_t checkpoint_bytes,
                                   std::int64_t preferred) {
  const std::int64_t kept_bytes = frame_bytes * kFramesPerBlock;
  const std::int64_t all = frames > 0 ? (frames + kFramesPerBlock - 1) / kFramesPerBlock : 1;
  const std::int64_t cached = kCacheBytes / 2 / kept_bytes, most = (preferred + kFramesPerBlock - 1) / kFramesPerBlock;
  std::int64_t blocks = cached < most ? cached : most;
  blocks = all * kept_bytes <= kCacheBytes ? all : blocks < 1 ? 1 : blocks;
  const auto checkpoints = [&](std::int64_t b) { return (all / b + 1) * checkpoint_bytes; };
  while (blocks < all && checkpoints(blocks) > (std::int64_t{1} << 23) &&
         checkpoints(blocks) + blocks * kept_bytes > checkpoints(blocks + 1) + (blocks + 1) * kept_bytes)
    ++blocks;
  return (blocks < all ? blocks : all) * kFramesPerBlock;
}

// The states at the start of each segment: kArrays arrays of 8-byte numbers, by position. Only the range that was
// walked is kept, one checkpoint behind the other, so that memory is touched for as many positions as there are. Where
// there is no room for another, every second one can be given up.
template <int kArrays>
class Checkpoints {
 public:
  using Arrays = void* const (&)[kArrays];  // from position 0 on

  Checkpoints() = default;
  // Up to `most` checkpoints of together `positions` positions.
  Checkpoints(std::int64_t most, std::int64_t positions, Arena& arena)
      : positions_(positions), kept_(arena.take<Kept>(most)), memory_(arena.take<std::int64_t>(kArrays * positions)) {}

  bool kept() const { return positions_ > 0; }
  void clear() { count_ = used_ = 0; }
  bool has_room(Range range) const { return used_ + size(range) <= positions_; }
  Range range(std::int64_t k) const { return kept_[k].range; }

  void save(Range range, Arrays arrays) {
    kept_[count_++] = {range, used_};
    for (int a = 0; a < kArrays; ++a)
      std::memcpy(at(kept_[count_ - 1], a, range), from(arrays[a], range), bytes(range));
    used_ += size(range);
  }

  // Copies positions `part` of a checkpoint's range to the arrays.
  void restore(std::int64_t k, Range part, Arrays arrays) const {
    for (int a = 0; a < kArrays; ++a) std::memcpy(from(arrays[a], part), at(kept_[k], a, part), bytes(part));
  }

  // Keeps the first, the third, and so on.
  void thin() {
    const std::int64_t before = count_;
    clear();
    for (std::int64_t k = 0; k < before; k += 2) {
      const Kept kept = kept_[k];
      std::memmove(memory_ + kArrays * used_, memory_ + kArrays * kept.at, kArrays * bytes(kept.range));
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
  static std::size_t bytes(Range range) { return static_cast<std::size_t>(size(range)) * sizeof(std::int64_t); }
  static void* from(void* array, Range range) { return static_cast<std::int64_t*>(array) + range.begin; }
  std::int64_t* at(const Kept& kept, int array, Range part) const {
    return memory_ + kArrays * kept.at + array * size(kept.range) + part.begin - kept.range.begin;
  }

  std::int64_t positions_ = 0, count_ = 0, used_ = 0;
  Kept* kept_ = nullptr;
  std::int64_t* memory_ = nullptr;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
