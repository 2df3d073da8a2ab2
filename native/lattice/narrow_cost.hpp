// What a narrow walk may cost. It comes before the walk that counts, and is in vain where it finds nothing.
#pragma once

#include <cstdint>

#include "base/range.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

class NarrowCost {
 public:
  NarrowCost() = default;
  // At most this share of what the walk of all positions costs. `cost_of_reading`: that of a frame, in positions.
  NarrowCost(double share, std::int64_t frames, std::int64_t labels, std::int64_t cost_of_reading)
      : most_(share * static_cast<double>(labels) * static_cast<double>(frames - labels)),
        cost_of_reading_(static_cast<double>(cost_of_reading)) {}

  // Whether a walk that is as narrow as that of a sure model stays below.
  bool allows(std::int64_t frames) const { return cost(frames, kNarrowest) < most_; }

  // Adds a block of frames. Returns whether the walk has stayed below so far.
  bool spend(std::int64_t frames, Range walked) {
    spent_ += cost(frames, walked.end - walked.begin);
    return spent_ < most_;
  }

 private:
  static constexpr std::int64_t kNarrowest = 40;  // positions

  double cost(std::int64_t frames, std::int64_t positions) const {
    return static_cast<double>(frames) * (cost_of_reading_ + static_cast<double>(positions));
  }

  double most_ = 0, cost_of_reading_ = 0, spent_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
