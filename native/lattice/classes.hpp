// The classes that a target names. Each has a row in the tables of a block of frames, its "slot": a class that is named
// many times is read once, and its occupancy is added up once.
#pragma once

#include "base/arena.hpp"
#include "base/batch.hpp"
#include "lattice/target.hpp"
#include "simd/simd.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

class Slots {
 public:
  // `width`: the classes side by side in a vector. Up to `few` classes, whole frames are read.
  Slots(const Batch& batch, std::int64_t n, std::int64_t width, std::int64_t few, Arena& arena)
      : blank_(batch.blank), classes_(batch.classes), padded_((batch.classes + width - 1) / width * width) {
    const std::int64_t distinct = batch.target_lengths[n] + 1;
    most_ = distinct < classes_ ? distinct : classes_;
    // Transposing all classes of a few frames takes as long as gathering a quarter of them.
    whole_frames_ = classes_ <= few || classes_ <= 4 * most_;
    slot_of_class_ = arena.take<std::int32_t>(padded_);
    class_of_slot_ = arena.take<std::int64_t>(most_);
  }

  // Fills `slots`, one per label.
  void choose(const Target& target, std::int32_t* slots) {
    for (std::int64_t c = 0; c < padded_; ++c) slot_of_class_[c] = -1;
    slot_of_class_[blank_] = 0;
    class_of_slot_[0] = blank_;
    used_ = 1;
    for (std::int64_t i = 0; i < target.size; ++i) {
      std::int32_t& slot = slot_of_class_[target.labels[i]];
      if (slot < 0) {
        class_of_slot_[used_] = target.labels[i];
        slot = static_cast<std::int32_t>(used_++);
      }
      slots[i] = slot;
    }
    if (!whole_frames_) return;
    for (std::int64_t c = 0; c < padded_; ++c)
      slot_of_class_[c] = slot_of_class_[c] < 0 ? static_cast<std::int32_t>(unnamed()) : slot_of_class_[c];
  }

  std::int64_t most() const { return most_; }         // that can be used
  std::int64_t used() const { return used_; }         // the blank's is 0
  std::int64_t empty() const { return used_; }        // of positions without a label: a row of zeros
  std::int64_t unnamed() const { return used_ + 1; }  // of all other classes, where whole frames are read
  std::int64_t table_size() const { return (most_ + 2) * kFramesPerBlock; }
  bool whole_frames() const { return whole_frames_; }  // whether to `transpose`; else `gather`
  std::int64_t class_of(std::int64_t slot) const { return class_of_slot_[slot]; }
  std::int64_t of_class(std::int64_t c) const { return slot_of_class_[c]; }  // for whole frames; also of padding

  // Frames, of which `readable` values can be read, to the table [slot][frame].
  template <class Real>
  void transpose_frames(const Real* const (&frames)[kFramesPerBlock], std::int64_t readable, Real* table) const {
    using Vector = typename VectorOf<Real>::Values;
    constexpr int width = sizeof(Vector) / sizeof(Real);
    for (std::int64_t c = 0; c < classes_; c += width) {
      for (int group = 0; group < kFramesPerBlock; group += width) {
        Vector tile[width];
        for (int j = 0; j < width; ++j)
          tile[j] = readable - c >= width ? load<Vector>(frames[group + j] + c)
                                          : load_first<Vector>(frames[group + j] + c, readable - c, Real{0});
        transpose(tile);
        for (int j = 0; j < width; ++j) store(table + of_class(c + j) * kFramesPerBlock + group, tile[j]);
      }
    }
  }

  // The same from the values of the classes of each frame of the block. Frame by frame: the frames of a block may lie a
  // power of two apart, where a column of them would not stay in the cache.
  template <class Real, class FrameOf>
  void gather(Real* table, FrameOf frame_of) const {
    const std::int64_t used = used_;
    const std::int64_t* const classes = class_of_slot_;
    for (int k = 0; k < kFramesPerBlock; ++k) {
      const auto frame = frame_of(k);
      for (std::int64_t u = 0; u < used; ++u) table[u * kFramesPerBlock + k] = frame[classes[u]];
    }
  }

 private:
  std::int64_t blank_, classes_, padded_, most_, used_ = 1;
  bool whole_frames_;
  std::int32_t* slot_of_class_;
  std::int64_t* class_of_slot_;
};

// Rows of a table [slot][frame] to [frame][position], for the positions of a range.
template <class Number>
inline void expand(const Number* table, const std::int32_t* slots, Range range, int frames, Number* rows,
                   std::int64_t pitch) {
  using Vector = std::conditional_t<sizeof(Number) == 4, F32, F64>;  // any numbers, as bits
  constexpr int width = sizeof(Vector) / sizeof(Number);
  for (std::int64_t i = range.begin; i < range.end; i += width) {
    for (int group = 0; group < frames; group += width) {
      Vector tile[width];
      for (int j = 0; j < width; ++j) tile[j] = load<Vector>(table + slots[i + j] * kFramesPerBlock + group);
      transpose(tile);
      for (int j = 0; j < width; ++j) store(rows + (group + j) * pitch + i, tile[j]);
    }
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
