// The band: the positions that the way back visits. All others together hold less probability than a budget.
//
// On the way back alpha is exact, so alpha(t,s) beta(t,s) / Z of a state is the probability of all paths through it
// (occupancy.hpp). After each block, states at both ends of the band are dropped, that is their beta is set to 0, for
// as long as their occupancies in the block's first frame sum to no more than the budget's share. Nothing is guessed:
// where the model is unsure, the band stays wide.
//
// What is lost. Let D be the pairs (t,s) that were dropped, and beta' the mirror with D left out. A path is lost at the
// last frame in which it is in D, because the mirror comes from the end. The paths lost at (t,s) have the mass
// alpha(t,s) beta'(t,s), with beta' before it is set to 0: exactly the occupancy that `narrow` adds up. Each path is
// lost once. So with
//
//     lost = sum over D of alpha beta' / Z
//
// for every frame and state   0 <= gamma - gamma' <= lost,   and so it is for the sum over the states of a frame. A
// class's gradient changes by at most lost times the item's weight; the loss is known before and does not change.
//
// Each end of each block may drop budget / (4 blocks), so lost <= budget / 2. The other half is for the forward walk
// (forward_band.hpp). Rounding: products are doubles. Narrowed to float, an occupancy below 2^-186 counts as 0, so
// `lost` is too small by at most 2^-186 for each state dropped: below 2^-140 for 2^46 of them. A NaN drops nothing.
#pragma once

#include <cmath>

#include "lattice/rows.hpp"
#include "lattice/target.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// What may be left out of an item's probability: below every digit of a result but those of gradients under 1e-17.
template <class Real>
constexpr double kBudget = sizeof(Real) == 4 ? 0x1p-80 : 0x1p-120;

// Shorter targets are walked whole: there, the band costs more than it saves.
constexpr std::int64_t kShortestBanded = 64;  // labels

class Band {
 public:
  // `budget`: what may be left out of the item's probability; with 0, all positions are visited.
  Band(double budget, std::int64_t frames)
      : budget_(budget), share_(budget / static_cast<double>(4 * (frames / kFramesPerBlock + 1))) {}

  bool on() const { return budget_ > 0; }
  double log2_budget() const { return std::log2(budget_); }  // half of it for each walk

  // The part of the probability that has been left out.
  double lost() const { return lost_; }

  // The way back begins: no position has been dropped.
  void start(Range all) { band_ = reread_ = all; }

  // Frames up to `end`, where the mirror is now, are walked forward again.
  void walk_again(std::int64_t end) {
    reread_ = band_;
    reread_end_ = end;
    narrows_forward_ = on();
  }

  // Of the positions that the forward walk reaches from frame t on, those that the way back reads. A path moves up by
  // at most one position a frame; the mirror's position i reads label i - 1. The walk has no inflow from below its
  // first position, and what this spoils moves up by one position a frame, too: with one position more, it stays below
  // all that is read.
  Range of_forward(Range reached, std::int64_t t) const {
    return narrows_forward_ ? cut(reached, reread_.begin - (reread_end_ - t) - 2, reread_.end) : reached;
  }

  // Of the positions that both walks reach in the frames [t, t + frames), those where the mirror is not 0.
  Range of_mirror(Range reached, std::int64_t t, int frames) const {
    return on() ? cut(of_forward(reached, t), band_.begin - frames - 1, band_.end) : reached;
  }

  // Drops vectors of positions after a block that was walked over the positions `walked`. `mass(i)` is the occupancy of
  // the vector of positions from i on in the block's first frame, in units of 1 / total.
  template <class Mass>
  void narrow(Range walked, double total, Mass mass) {
    const double allowed = share_ * total;
    band_ = walked;
    double low = 0, high = 0;
    while (band_.begin + kLanes < band_.end && fits(low, mass(band_.begin), allowed)) band_.begin += kLanes;
    while (band_.begin + kLanes < band_.end && fits(high, mass(band_.end - kLanes), allowed)) band_.end -= kLanes;
    lost_ += (low + high) / total;
  }

  Range range() const { return band_; }

 private:
  static Range cut(Range range, std::int64_t low, std::int64_t high) {
    return common(range, {(low > 0 ? low : 0) / kLanes * kLanes, high});
  }

  // Adds `more` to `sum` if it stays within what is allowed.
  static bool fits(double& sum, double more, double allowed) {
    if (!(sum + more <= allowed)) return false;
    sum += more;
    return true;
  }

  bool narrows_forward_ = false;
  double budget_, share_;  // for the item; for each end of each block
  double lost_ = 0;
  Range band_ = {};
  Range reread_ = {};  // the band at the end of the frames that are walked again
  std::int64_t reread_end_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
