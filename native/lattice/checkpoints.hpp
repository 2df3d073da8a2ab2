// How the frames of an item are cut into segments, so that what is kept of one on the way back stays in the cache, and
// the states at the start of each, from which the forward walk is taken up again.
#pragma once

#include <cstring>

#include "base/arena.hpp"
#include "lattice/forward_backward.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr std::int64_t kCacheBytes = std::int64_t{1} << 20;  // what a core's second-level cache holds

// In frames, of which each keeps so many bytes; a checkpoint takes `checkpoint_bytes`. One segment if all that is kept
// of the item stays in the second-level cache. Else segments of half that size, or longer, so that checkpoints take at
// most 8 MiB, or, where that cannot be, the length that makes the sum of kept rows and checkpoints smallest.
inline std::int64_t segment_length(std::int64_t frames, std::int64_t frame_bytes, std::int64_t checkpoint_bytes) {
  const std::int64_t kept_bytes = frame_bytes * kBlock;
  const std::int64_t all = frames > 0 ? (frames + kBlock - 1) / kBlock : 1;
  std::int64_t blocks = kCacheBytes / 2 / kept_bytes;
  blocks = all * kept_bytes <= kCacheBytes ? all : blocks < 1 ? 1 : blocks;
  const auto checkpoints = [&](std::int64_t b) { return (all / b + 1) * checkpoint_bytes; };
  while (blocks < all && checkpoints(blocks) > (std::int64_t{1} << 23) &&
         checkpoints(blocks) + blocks * kept_bytes > checkpoints(blocks + 1) + (blocks + 1) * kept_bytes)
    ++blocks;
  return (blocks < all ? blocks : all) * kBlock;
}

class Checkpoints {
 public:
  Checkpoints() = default;
  Checkpoints(std::int64_t segments, std::int64_t width, Arena& arena)
      : bytes_(8 * static_cast<std::size_t>(width)),
        memory_(arena.take<std::byte>(segments * 4 * static_cast<std::int64_t>(bytes_))),
        kept_(true) {}

  bool kept() const { return kept_; }

  void save(std::int64_t segment, const Row& row) {
    std::byte* const to = at(segment);
    std::memcpy(to, row.blank, bytes_);
    std::memcpy(to + bytes_, row.label, bytes_);
    std::memcpy(to + 2 * bytes_, row.blank_exponent, bytes_);
    std::memcpy(to + 3 * bytes_, row.label_exponent, bytes_);
  }

  void restore(std::int64_t segment, const Row& row) const {
    const std::byte* const from = at(segment);
    std::memcpy(row.blank, from, bytes_);
    std::memcpy(row.label, from + bytes_, bytes_);
    std::memcpy(row.blank_exponent, from + 2 * bytes_, bytes_);
    std::memcpy(row.label_exponent, from + 3 * bytes_, bytes_);
  }

 private:
  std::byte* at(std::int64_t segment) const { return memory_ + static_cast<std::size_t>(segment) * 4 * bytes_; }

  std::size_t bytes_ = 0;  // of one of the four parts of a row
  std::byte* memory_ = nullptr;
  bool kept_ = false;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
