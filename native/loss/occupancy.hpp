// Forward times backward: how much of the probability of all paths passes through each state at each frame.
//
//     gamma(t, state) = alpha(t, state) beta(t, state) / Z        (Graves et al. 2006, eq. 14 and 15)
//
// with beta before the emission of its own frame, so that nothing is divided by an emission. Stored is gamma times Z,
// in units of 2^(exponent of Z - kProduct).
#pragma once

#include "lattice/forward_backward.hpp"
#include "simd/elements.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// The rows of the forward walk over one block, frame by frame. There is one row of exponents for the block, or one per
// frame if the block was walked in exact steps.
struct KeptBlock {
  double *blank, *label;
  std::int64_t *blank_exponent, *label_exponent;
  std::int64_t pitch;
  bool exact;
  Ratios ratios;  // of the block, unless it was walked in exact steps

  Row at(std::int64_t k) const {
    const std::int64_t row = k * pitch;
    return {blank + row, label + row, blank_exponent + row, label_exponent + row};
  }
};

// The occupancy of one block's states.
template <class Real>
struct Occupancy {
  Real* label;         // [frame][position], at the pitch of the kept rows
  Real* blank;         // the same, of the first `blank_frames` frames
  int blank_frames;    // of the others, only the sums are needed
  double* blank_sums;  // [frame][lane], sums over the blanks; their sum over the lanes is still missing
};

// The mirror's visitor where the exponents of alpha and beta cancel.
template <class Real>
struct Multiply {
  const double *alpha_blank, *alpha_label;
  std::int64_t pitch;
  Occupancy<Real> to;
  F64 sum{};

  void states(int k, std::int64_t i, F64 beta_blank, F64 beta_label) {
    const std::int64_t at = k * pitch + i;
    const F64 blank = load<F64>(alpha_blank + at) * beta_blank;
    sum += blank;
    if (k < to.blank_frames) store_narrowed(to.blank + at, blank);
    store_narrowed(to.label + at - 1, load<F64>(alpha_label + at - 1) * beta_label);  // position i of the mirror
  }
  void end_of_frame(int k) {
    double* const lanes = to.blank_sums + k * kLanes;
    store(lanes, load<F64>(lanes) + sum);
    sum = F64{};
  }
};

// The power of two that makes alpha * beta of a state its share of the total, in two factors: alpha and beta can be far
// from 1 in opposite directions.
inline void share_of_total(const std::int64_t* alpha, const std::int64_t* beta, std::int64_t total, F64& first,
                           F64& second) {
  const I64 exponent = load<I64>(alpha) + load<I64>(beta) - total;
  first = power_of_two(exponent >> 1);
  second = power_of_two(exponent - (exponent >> 1));
}

// The exponent of an empty state is meaningless, so the other factor may become infinite.
inline F64 scaled_product(F64 alpha, F64 first, F64 beta, F64 second) {
  return ((alpha == 0.0) | (beta == 0.0)) ? F64{} : (alpha * first) * (beta * second);
}

// The same for frame k, whose beta has its own exponents, in units of 2^unit.
template <class Real>
inline void multiply_exactly(Range range, int k, const KeptBlock& alpha, const Row& beta, std::int64_t unit,
                             const Occupancy<Real>& to) {
  const Row values = alpha.at(k), exponents = alpha.at(alpha.exact ? k : 0);
  beta.label[range.end] = 0;  // beyond what can be reached
  beta.label_exponent[range.end] = kNever;
  F64 sum{}, first, second;
  for (std::int64_t i = range.begin; i < range.end; i += kLanes) {
    share_of_total(exponents.blank_exponent + i, beta.blank_exponent + i, unit, first, second);
    const F64 blank = scaled_product(load<F64>(values.blank + i), first, load<F64>(beta.blank + i), second);
    sum += blank;
    if (k < to.blank_frames) store_narrowed(to.blank + k * alpha.pitch + i, blank);
    share_of_total(exponents.label_exponent + i, beta.label_exponent + i + 1, unit, first, second);
    store_narrowed(to.label + k * alpha.pitch + i,
                   scaled_product(load<F64>(values.label + i), first, load<F64>(beta.label + i + 1), second));
  }
  store(to.blank_sums + k * kLanes, sum);
}

// Whether the states of a block's first frame sum to the total, as those of every frame should. The mirror reaches this
// frame last, so all that it lost in the block is missing there. (Narrowed to float, the sum is exact to 2^-24.)
template <class Real>
inline bool holds_total(Range range, const Occupancy<Real>& first, double total) {
  F64 sum = load<F64>(first.blank_sums);
  for (std::int64_t i = range.begin; i < range.end; i += kLanes) sum += load_widened(first.label + i - 1);
  return sum_of_lanes(sum) > (1 - 0x1p-22) * total;
}

// Adds up the occupancy of a block per class that the target names, [slot][frame]. The blank's slot is the first.
template <class Real>
inline void sum_slots(Range range, int frames, const Occupancy<Real>& from, std::int64_t pitch,
                      const std::int32_t* slots, Real* per_slot) {
  using Vector = typename VectorOf<Real>::Values;
  constexpr int width = sizeof(Vector) / sizeof(Real);
  // Clear the positions that the mirror does not reach, and those that whole vectors read beyond them.
  for (int k = 0; k < kFramesPerBlock; ++k) {
    Real* const row = from.label + k * pitch;
    for (std::int64_t i = k < frames ? range.end : range.begin; i <= range.end; i += kLanes)
      store_narrowed(row + i - 1, F64{});
    row[range.end + kPad - 1] = 0;
  }
  for (std::int64_t i = range.begin; i < range.end; i += width) {
    for (int group = 0; group < kFramesPerBlock; group += width) {
      Vector tile[width];
      for (int j = 0; j < width; ++j) tile[j] = load<Vector>(from.label + (group + j) * pitch + i);
      transpose(tile);
      for (int j = 0; j < width; ++j) {
        Real* const sum = per_slot + std::int64_t{slots[i + j]} * kFramesPerBlock + group;
        store(sum, load<Vector>(sum) + tile[j]);
      }
    }
  }
  for (int group = 0; group < kFramesPerBlock; group += kLanes) {
    F64 lanes[kLanes];
    for (int j = 0; j < kLanes; ++j) lanes[j] = load<F64>(from.blank_sums + (group + j) * kLanes);
    store_narrowed(per_slot + group, fold_rows(lanes, [](F64 a, F64 b) { return a + b; }));
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
