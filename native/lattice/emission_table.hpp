// The log-probabilities of a block of frames, from the caller's [frame][class], of any strides, to the
// [frame][position] that the best path's recursion reads: through a table [slot][frame] of the classes that the target
// names.
#pragma once

#include "lattice/classes.hpp"
#include "lattice/frames.hpp"
#include "lattice/viterbi.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class T>
class EmissionTable {
 public:
  using Real = typename ComputedIn<T>::Real;

 private:
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  static constexpr int kWidth = sizeof(Vector) / sizeof(Real);
  static_assert(kFramesPerBlock % kWidth == 0 && kStep % kWidth == 0);
  static constexpr std::int64_t kFewClasses = 128;

 public:
  // `width`: positions, a multiple of kStep.
  EmissionTable(const Batch& batch, std::int64_t n, std::int64_t width, Arena& arena)
      : blank_(batch.blank),
        classes_(batch.classes),
        width_(width),
        frames_(batch, n),
        slots_(batch, n, kWidth, kFewClasses, arena) {
    class_of_position_ = arena.take<std::int64_t>(width);
    slot_of_position_ = arena.take<std::int32_t>(width);
    table_ = arena.take<Real>(slots_.table_size());
    pitch_ = (batch.classes + kWidth - 1) / kWidth * kWidth;
    if (slots_.whole_frames() && !frames_.in_place()) buffer_ = arena.take<Real>(pitch_ * kFramesPerBlock);
    rows_ = arena.take<Real>(kFramesPerBlock * kVectorsPerGroup * kLanes);
  }

  void choose_slots(const Target& target) {
    slots_.choose(target, slot_of_position_);
    for (std::int64_t i = target.size; i < width_; ++i) slot_of_position_[i] = 0;  // without a label: any that is named
    for (std::int64_t i = 0; i < width_; ++i) class_of_position_[i] = i < target.size ? target.labels[i] : blank_;
  }

  // Reads frames [t, t + frames), for a walk over so many positions. Returns whether no value that the target names is
  // NaN or +infinity. `again`: the frames have been read before; this is not checked, and the table may be left out.
  bool read(std::int64_t t, int frames, std::int64_t positions, bool again) {
    first_ = t;
    count_ = frames;
    direct_ = again && positions < (slots_.whole_frames() ? classes_ / 4 : slots_.used());
    if (direct_) {
      for (int k = 0; k < kFramesPerBlock; ++k) blanks_[k] = static_cast<double>(frames_.at(frame(k), blank_));
      return true;
    }
    if (slots_.whole_frames()) {
      const Real* rows[kFramesPerBlock];
      for (int k = 0; k < kFramesPerBlock; ++k) rows[k] = frames_.row(frame(k), buffer_ + k * pitch_);
      slots_.transpose_frames(rows, classes_, table_);
    } else {
      slots_.gather(table_, [&](int k) { return frames_.values(frame(k)); });
    }
    for (int k = 0; k < kFramesPerBlock; ++k) blanks_[k] = static_cast<double>(table_[k]);  // slot 0
    if (again) return true;
    Integers bad{};
    for (std::int64_t at = 0; at < slots_.used() * kFramesPerBlock; at += kWidth)
      bad |= ~(load<Vector>(table_ + at) < std::numeric_limits<Real>::infinity());
    return !any_lane(bad);
  }

  // The largest value that the target names, of each frame of the block; the block must have been read for the first
  // time.
  void largest_of_frames(double* largest) const {
    for (int k = 0; k < kFramesPerBlock; k += kWidth) {
      Vector high = load<Vector>(table_ + k);
      for (std::int64_t u = 1; u < slots_.used(); ++u)
        high = larger(load<Vector>(table_ + u * kFramesPerBlock + k), high);
      for (int j = 0; j < kWidth; ++j) largest[k + j] = static_cast<double>(high[j]);
    }
  }

  // What it costs to read a frame for the first time, in positions of a walk; measured. (A block of few classes stays
  // in the nearest cache.)
  std::int64_t cost_of_reading() const {
    return !slots_.whole_frames() ? slots_.used() * 4 : classes_ > 64 ? classes_ : classes_ / 4;
  }

  const double* blanks() const { return blanks_; }

  // [frame][position] of the vectors of positions from i on, rows as `walk_group` reads them.
  template <int Vectors>
  const Real* rows_from(std::int64_t i) {
    constexpr int positions = Vectors * kLanes, pitch = kVectorsPerGroup * kLanes;
    if (direct_) {
      for (int k = 0; k < count_; ++k)
        for (int j = 0; j < positions; ++j) rows_[k * pitch + j] = frames_.at(frame(k), class_of_position_[i + j]);
    } else {
      expand(table_, slot_of_position_ + i, {0, positions}, count_, rows_, pitch);
    }
    return rows_;
  }

 private:
  std::int64_t frame(int k) const { return first_ + (k < count_ ? k : 0); }  // beyond the last: any frame

  std::int64_t blank_, classes_, width_, pitch_ = 0;
  FrameRows<T> frames_;
  Slots slots_;
  bool direct_ = false;     // whether `rows_from` reads the caller's frames
  std::int64_t first_ = 0;  // the block that was read
  int count_ = 0;
  std::int64_t* class_of_position_;
  std::int32_t* slot_of_position_;
  Real *table_, *buffer_ = nullptr, *rows_;
  double blanks_[kFramesPerBlock];
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
