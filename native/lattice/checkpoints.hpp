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

// A row of states is kArrays arrays of 8-byte numbers, of up to `width` positions.
template <int kArrays>
class Checkpoints {
 public:
  Checkpoints() = default;
  Checkpoints(std::int64_t segments, std::int64_t width, Arena& arena)
      : width_(width), memory_(arena.take<std::int64_t>(segments * kArrays * width)), kept_(true) {}

  bool kept() const { return kept_; }

  // Copies `count` numbers of each array to or from a segment's checkpoint, in which they begin at `first`.
  void save(std::int64_t segment, std::int64_t first, std::int64_t count, const void* const (&arrays)[kArrays]) const {
    for (int a = 0; a < kArrays; ++a) std::memcpy(at(segment, a, first), arrays[a], bytes(count));
  }
  void restore(std::int64_t segment, std::int64_t first, std::int64_t count, void* const (&arrays)[kArrays]) const {
    for (int a = 0; a < kArrays; ++a) std::memcpy(arrays[a], at(segment, a, first), bytes(count));
  }

 private:
  static std::size_t bytes(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(std::int64_t); }
  std::int64_t* at(std::int64_t segment, int array, std::int64_t first) const {
    return memory_ + (segment * kArrays + array) * width_ + first;
  }

  std::int64_t width_ = 0;
  std::int64_t* memory_ = nullptr;
  bool kept_ = false;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
