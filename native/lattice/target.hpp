// The target of an item: where a path may skip a blank, how many frames it needs, and which positions matter in a
// frame.
//
// The first place of these rules is src/ctckit/lattice/topology.py (`may_skip`, `frames_needed`).
//
// Position i of a target of S labels holds label i and the blank before it (position S: the last blank, no label).
#pragma once

#include "base/batch.hpp"
#include "base/range.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr int kFramesPerBlock = 16;  // frames that are walked together, with the states in registers
constexpr int kVectorsPerGroup = 4;  // vectors of positions that are walked together

struct Target {
  Target(const Batch& batch, std::int64_t n) : labels(batch.labels + batch.offsets[n]), size(batch.target_lengths[n]) {}

  // Whether label i may follow label i - 1 without a blank between them.
  bool may_skip(std::int64_t i) const { return i > 0 && i < size && labels[i] != labels[i - 1]; }

  // One for each label, and one for the blank between equal labels.
  std::int64_t frames_needed() const {
    std::int64_t frames = size;
    for (std::int64_t i = 1; i < size; ++i) frames += labels[i] == labels[i - 1];
    return frames;
  }

  const std::int64_t* labels;
  std::int64_t size;
};

// Frames [begin, end) of a walk. Only paths count that are in positions `goal` to `top` in the last frame.
struct Segment {
  std::int64_t begin, end, goal, top;
};

// The positions that matter from frame t - 1 of a segment on, until `reached` is the highest that can be reached: those
// that can still be at the goal in the end. Rounded out to multiples of kMultiple.
template <int kMultiple>
inline Range range_of(const Segment& segment, std::int64_t t, std::int64_t reached) {
  const std::int64_t low = segment.goal - (segment.end - t), high = reached < segment.top ? reached : segment.top;
  return {(low > 0 ? low : 0) / kMultiple * kMultiple, high / kMultiple * kMultiple + kMultiple};
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
