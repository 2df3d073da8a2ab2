// The band of the forward walk of a long target: the positions that can matter, for all that is known of the frames to
// come.
//
// Forward, beta is not known, but bounded. From a state on, different paths are different sequences of classes, so
//
//     beta(t,s) <= product over the later frames of N,        N: the sum of a frame's emissions over the named classes.
//
// A narrow walk comes first. It keeps only the states within kBeam bits of the largest, so it is cheap. It collects N,
// and what it finds in the end is a lower bound Z' of the likelihood Z, whatever it left out. The walk that counts then
// drops states at both ends of its range where
//
//     alpha(t,s) product of N <= E Z' / (blocks x states).
//
// All that it drops is less than E Z, where E is half of the item's budget (band.hpp). So the likelihood is less by E Z
// at most: 2^-81 of it, far below the rounding of the loss. In the occupancies it adds E to what the way back leaves
// out.
//
// The slack of the bound is the loss of the whole target. So the band is narrow where a model is sure, and as wide as
// the target for noise: there the narrow walk is given up early.
#pragma once

#include <cmath>

#include "lattice/forward_backward.hpp"
#include "lattice/narrow_cost.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

class ForwardBand {
 public:
  // Whether the narrow walk should be tried. `cost_of_reading`: that of a frame, in positions.
  static bool possible(std::int64_t frames, std::int64_t labels, std::int64_t cost_of_reading) {
    return labels >= kShortest && NarrowCost(kMostCost, frames, labels, cost_of_reading).allows(frames);
  }

  ForwardBand() = default;
  // 2^-`bits` of the likelihood may be left out.
  ForwardBand(std::int64_t frames, std::int64_t labels, std::int64_t cost_of_reading, double bits, Arena& arena)
      : blocks_((frames + kFramesPerBlock - 1) / kFramesPerBlock),
        labels_(labels),
        bits_(bits),
        cost_(kMostCost, frames, labels, cost_of_reading),
        future_(arena.take<double>(blocks_ + 1)) {}

  // Whether positions are left out, by either walk.
  bool on() const { return stage_ != Stage::off; }

  // ---- the narrow walk ----------------------------------------------------------------------------------------------

  void start_narrow() {
    stage_ = Stage::narrow;
    restart();
    reachable_ = 0;
  }

  // Notes the emissions of a block, [slot][frame].
  template <class Real>
  void note(std::int64_t block, int frames, const Real* table, std::int64_t slots) {
    double product = 1;
    for (int k = 0; k < frames; ++k) {
      double sum = kLostEmissions;
      for (std::int64_t u = 0; u < slots; ++u) sum += static_cast<double>(table[u * kFramesPerBlock + k]);
      product *= sum;
    }
    future_[block] = std::log2(product) + kRounding;
    reachable_ += future_[block];
  }

  // After a block walked over `walked`: keeps what is near the largest. Returns whether to go on.
  bool narrow_to_beam(const Row& row, Range walked, int frames) {
    std::int64_t largest = kNever;
    for (std::int64_t i = walked.begin; i < walked.end; i += kLanes) {
      const std::int64_t e = exponent_at(row, i);
      largest = e > largest ? e : largest;
    }
    narrow(row, walked, largest - kBeam, frames);
    const bool affordable = cost_.spend(frames, walked);
    const double slack = reachable_ - static_cast<double>(largest) + bits_;
    const double width = static_cast<double>(range_.end - range_.begin) * slack / kBeam;
    const bool pays = affordable && width < static_cast<double>(labels_);
    return largest > kNever / 2 && (labels_ < kShortest || pays);  // for a short target only a test asks for it
  }

  // The narrow walk is over. `log2_found`: the logarithm of what it found, -infinity if nothing.
  void certify(double log2_found) {
    future_[blocks_] = 0;
    for (std::int64_t b = blocks_ - 1; b >= 0; --b) future_[b] += future_[b + 1];
    const double states = 2.0 * static_cast<double>(labels_ + kLanes);
    limit_ = std::floor(log2_found - bits_ - std::log2(static_cast<double>(blocks_) * states));
    stage_ = limit_ - limit_ == 0 ? Stage::certified : Stage::off;
    restart();
  }
  void give_up() { stage_ = Stage::off; }

  // What of the likelihood the forward walk can have left out.
  double lost() const { return stage_ == Stage::certified ? std::exp2(-bits_) : 0; }

  // ---- both walks ---------------------------------------------------------------------------------------------------

  // The range before the next frame.
  Range range() const { return range_; }
  // Frames from t on are walked again, from this range on, without being narrowed.
  void start_again(Range range, std::int64_t t) {
    range_ = range;
    at_ = t;
  }

  // Of the positions that a walk reaches in frames [t, t + frames), those that are not left out. (One position more is
  // for the mirror, whose position i reads label i - 1.)
  Range of_walk(Range reached, std::int64_t t, int frames) const {
    if (!on()) return reached;
    const std::int64_t end = (range_.end + (t - at_) + frames + kLanes) / kLanes * kLanes;
    return common(reached, {range_.begin, end});
  }

  // After the block of the walk that counts.
  void narrow_to_certificate(const Row& row, Range walked, std::int64_t block, int frames) {
    const double limit = limit_ - future_[block + 1];
    narrow(row, walked, limit < -0x1p60 ? kNever : static_cast<std::int64_t>(limit), frames);
  }

 private:
  enum class Stage { off, narrow, certified };
  static constexpr std::int64_t kShortest = 1000;    // labels
  static constexpr std::int64_t kBeam = 58;          // bits: 40 nats
  static constexpr double kMostCost = 0.1;           // of the walk of all positions
  static constexpr double kLostEmissions = 0x1p-60;  // more than all emissions that are too small for the table
  static constexpr double kRounding = 0x1p-20;       // bits a block, more than sums and logarithms round

  void restart() {
    range_ = {0, kLanes};
    at_ = 0;
  }

  // The exponent above all states of a vector of positions.
  static std::int64_t exponent_at(const Row& row, std::int64_t i) {
    const auto above = [](F64 m, I64 e) {
      return ((m == 0.0) | (e > kVoid / 2)) ? broadcast<I64>(kNever) : e + exponent_of(m) + 1;
    };
    return largest_of_lanes(larger(above(load<F64>(row.blank + i), load<I64>(row.blank_exponent + i)),
                                   above(load<F64>(row.label + i), load<I64>(row.label_exponent + i))));
  }

  void narrow(const Row& row, Range walked, std::int64_t limit, int frames) {
    range_ = walked;
    while (range_.begin + kLanes < range_.end && exponent_at(row, range_.begin) <= limit) range_.begin += kLanes;
    while (range_.begin + kLanes < range_.end && exponent_at(row, range_.end - kLanes) <= limit) range_.end -= kLanes;
    at_ += frames;
  }

  Stage stage_ = Stage::off;
  std::int64_t blocks_ = 0, labels_ = 0, at_ = 0;
  Range range_ = {};
  double bits_ = 0;
  NarrowCost cost_;
  double* future_ = nullptr;  // [block]: log2 of the product of N from its first frame on
  double reachable_ = 0;      // log2 of the product of N so far, in the narrow walk
  double limit_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
