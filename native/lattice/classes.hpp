// Which classes a target names. Each gets a row of the block's tables, a "slot", so that a class named many times is
// read, and its occupancy added up, once.
#pragma once

#include "base/arena.hpp"
#include "base/batch.hpp"
#include "lattice/forward_backward.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

class Slots {
 public:
  Slots(const Batch& batch, std::int64_t n, std::int64_t width, Arena& arena)
      : blank_(batch.blank), classes_(batch.classes), padded_((batch.classes + width - 1) / width * width) {
    const std::int64_t distinct = batch.target_lengths[n] + 1;
    most_ = distinct < classes_ ? distinct : classes_;
    // Transposing all classes of a few frames takes as long as picking out a quarter of them.
    most_are_named_ = classes_ <= 4 * most_;
    slot_of_class_ = arena.take<std::int32_t>(padded_);
    class_of_slot_ = arena.take<std::int64_t>(most_);
  }

  // Fills `slots`, one per label.
  void choose(const std::int64_t* target, std::int64_t labels, std::int32_t* slots) {
    for (std::int64_t c = 0; c < padded_; ++c) slot_of_class_[c] = -1;
    slot_of_class_[blank_] = 0;
    class_of_slot_[0] = blank_;
    used_ = 1;
    for (std::int64_t i = 0; i < labels; ++i) {
      std::int32_t& slot = slot_of_class_[target[i]];
      if (slot < 0) {
        class_of_slot_[used_] = target[i];
        slot = static_cast<std::int32_t>(used_++);
      }
      slots[i] = slot;
    }
    if (!most_are_named_) return;
    for (std::int64_t c = 0; c < padded_; ++c)
      slot_of_class_[c] = slot_of_class_[c] < 0 ? static_cast<std::int32_t>(unnamed()) : slot_of_class_[c];
  }

  std::int64_t used() const { return used_; }         // the blank's is 0
  std::int64_t empty() const { return used_; }        // of positions without a label: a row of zeros
  std::int64_t unnamed() const { return used_ + 1; }  // where transposing puts, and finds, all other classes
  std::int64_t table_size() const { return (most_ + 2) * kBlock; }
  bool most_are_named() const { return most_are_named_; }
  std::int64_t class_of(std::int64_t slot) const { return class_of_slot_[slot]; }
  std::int64_t of_class(std::int64_t c) const { return slot_of_class_[c]; }  // where most are named; also of padding

 private:
  std::int64_t blank_, classes_, padded_, most_, used_ = 1;
  bool most_are_named_;
  std::int32_t* slot_of_class_;
  std::int64_t* class_of_slot_;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
