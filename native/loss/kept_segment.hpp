// What the walk forward over a segment of frames keeps for the way back.
#pragma once

#include "loss/occupancy.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class Real>
class KeptSegment {
 public:
  // Takes memory for so many frames of `pitch` positions; without `goes_back`, for their emissions alone.
  void take(const RowArena& whole, std::int64_t frames, std::int64_t pitch, bool goes_back) {
    const RowArena rows{whole.arena, pitch};
    frames_ = frames;
    pitch_ = pitch;
    whole_ = layout_ = {whole.pitch};
    labels_ = rows.take<Real>(frames);
    blanks_ = rows.arena.take<double>(frames);
    if (!goes_back) return;
    ratios_ = rows.take_ratios(frames / kFramesPerBlock);
    states_ = rows.take_states(frames);
    alpha_exact_ = rows.arena.take<bool>(frames / kFramesPerBlock);
    extreme_ = rows.arena.take<bool>(frames / kFramesPerBlock);
  }

  // From now on rows hold only these positions and a few around them: fewer pages of memory are touched.
  void hold(Range positions) {
    const std::int64_t low = positions.begin - 2 * kLanes, first = low > 0 ? low : 0;
    const std::int64_t pitch = pitch_of(positions.end - positions.begin);
    layout_ = pitch < whole_.pitch ? RowLayout{pitch, first} : whole_;
  }

  // How many frames there is memory for.
  std::int64_t room() const {
    return layout_.pitch <= pitch_ ? frames_ : frames_ * pitch_ / layout_.pitch / kFramesPerBlock * kFramesPerBlock;
  }

  const RowLayout& layout() const { return layout_; }

  // The rows of the block whose first frame is in `row`.
  KeptBlock block(std::int64_t row) const {
    const std::int64_t at = layout_.row(row), ratios = layout_.row(row / kFramesPerBlock);
    return {states_.blank + at,
            states_.label + at,
            states_.blank_exponent + at,
            states_.label_exponent + at,
            layout_.pitch,
            false,
            {ratios_.blank_from_label + ratios, ratios_.label_from_blank + ratios, ratios_.label_from_label + ratios}};
  }
  Real* label_emissions(std::int64_t row) const { return labels_ + layout_.row(row); }
  double* blank_emissions(std::int64_t row) const { return blanks_ + row; }
  Emissions<Real> emissions(std::int64_t row) const {
    return {label_emissions(row), layout_.pitch, blank_emissions(row)};
  }

  // Whether the block was walked in exact steps, and whether its emissions need them.
  bool& alpha_exact(std::int64_t row) const { return alpha_exact_[row / kFramesPerBlock]; }
  bool& extreme(std::int64_t row) const { return extreme_[row / kFramesPerBlock]; }

 private:
  static std::int64_t pitch_of(std::int64_t positions) {
    const std::int64_t pitch = positions + 6 * kLanes + kPad;
    return pitch / 8 % 2 == 0 ? pitch + 8 : pitch;  // an odd number of cache lines, as in `Item`
  }

  RowLayout whole_ = {}, layout_ = {};
  std::int64_t frames_ = 0, pitch_ = 0;  // that there is memory for
  Real* labels_ = nullptr;               // emissions of the labels, [frame][position]
  double* blanks_ = nullptr;             // and of the blank
  Row states_ = {};
  Ratios ratios_ = {};                                // [block][position]
  bool *alpha_exact_ = nullptr, *extreme_ = nullptr;  // [block]
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
