// How far a narrow walk goes, the one that finds a path for `ScoreBand`: how much it keeps, and when it is given up.
//
// It is given up where the band would be as wide as the target, as far as one can see: the beam is so many positions
// wide for kNats, hence the band as many times wider as the path has lost nats. (The loss of a frame is what its value
// is less than the largest of the frame.) It is given up, too, where it has cost too much, so that a walk in vain takes
// at most a few percent of the time.
#pragma once

#include "base/batch.hpp"
#include "lattice/narrow_cost.hpp"
#include "lattice/viterbi.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

class Beam {
 public:
  // `cost_of_reading`: that of a frame, in positions.
  Beam(Pruning pruning, std::int64_t frames, std::int64_t labels, std::int64_t cost_of_reading)
      : always_(pruning == Pruning::always),
        labels_(static_cast<double>(labels)),
        cost_(kMostCost, frames, labels, cost_of_reading),
        possible_(always_ || (pruning == Pruning::if_it_pays && cost_.allows(frames))) {}

  // Whether the narrow walk should be tried.
  bool possible() const { return possible_; }

  // The least value that is kept.
  static double limit(double largest) { return largest - kNats; }

  // After a block of frames in the positions `walked`, of which those in `kept` stay: whether to go on.
  bool goes_on(Range walked, Range kept, const double* maxima, int frames, double largest) {
    for (int k = 0; k < frames; ++k) reachable_ += maxima[k];
    const bool affordable = cost_.spend(frames, walked);
    widths_ += static_cast<double>(kept.end - kept.begin);
    ++blocks_;
    const double lost = reachable_ - largest, band = widths_ / blocks_ * lost / kNats;
    return largest != kImpossible && (always_ || (band < labels_ && affordable));
  }

 private:
  static constexpr double kNats = 40;
  static constexpr double kMostCost = 0.045;  // of the walk of all positions

  bool always_;
  double labels_;
  NarrowCost cost_;
  bool possible_;
  double reachable_ = 0, widths_ = 0, blocks_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
