// Forward times backward: how much of the probability of all paths passes through each state at each frame.
#pragma once

#include "recursion.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// The rows that a walk over one block kept, frame by frame. `exponents` holds one row for the whole block, or one per
// frame where the block was walked in exact steps.
struct KeptBlock {
  double *blank, *label;
  std::int64_t *blank_exponent, *label_exponent;
  std::int64_t pitch;
  bool exact;
  Ratios ratios;  // of the whole block, where it was not walked in exact steps

  Row at(std::int64_t k) const {
    const std::int64_t row = k * pitch;
    return {blank + row, label + row, blank_exponent + row, label_exponent + row};
  }
};

// Where the occupancy of a block goes, in units of 2^exponent (the caller divides by the rest of the total).
struct Occupancy {
  double* per_slot;      // [slot][frame], added to
  double* blank;         // [frame], added to
  double* states_blank;  // null, or [frame][position], at the pitch of the kept rows
  double* states_label;
};

// The power of two by which alpha * beta of a state becomes its share of the total, in two factors: alpha and beta can
// be far from 1 in opposite directions.
inline void share_of_total(const std::int64_t* alpha, const std::int64_t* beta, std::int64_t total, F64& first,
                           F64& second) {
  const I64 exponent = load<I64>(alpha) + load<I64>(beta) - total;
  first = power_of_two(exponent >> 1);
  second = power_of_two(exponent - (exponent >> 1));
}

// An empty state's exponent means nothing, and may make infinity of the other factor.
inline F64 scaled_product(F64 alpha, F64 first, F64 beta, F64 second) {
  return (alpha == 0.0) | (beta == 0.0) ? F64{} : (alpha * first) * (beta * second);
}

// gamma(t, state) = alpha(t, state) beta(t, state) / Z, beta without the emission of its own frame, so that nothing is
// divided by an emission (Graves et al. 2006, eq. 14 and 15).
//
// Takes the kLanes frames from `group` on, whose exponents cancel, or, with kExact, only frame `one` of them, by its
// exponents.
template <bool kExact>
inline void accumulate_group(Range range, int group, int one, const KeptBlock& alpha, const KeptBlock& beta,
                             std::int64_t total_exponent, const std::int32_t* slots, const Occupancy& to) {
  const Row alpha_e = alpha.at(alpha.exact ? one : 0), beta_e = beta.at(beta.exact ? one : 0);
  const std::int64_t pitch = alpha.pitch;
  const double *const alpha_blank = alpha.blank + group * pitch, *const alpha_label = alpha.label + group * pitch;
  const double *const beta_blank = beta.blank + group * pitch, *const beta_label = beta.label + group * pitch + 1;
  double* const per_slot = to.per_slot + group;
  double* const states_blank = to.states_blank == nullptr ? nullptr : to.states_blank + group * pitch;
  double* const states_label = to.states_label == nullptr ? nullptr : to.states_label + group * pitch;
  F64 blank_sum[kLanes] = {};
  for (std::int64_t i = range.begin; i < range.end; i += kLanes) {
    F64 blank_1{}, blank_2{}, label_1{}, label_2{}, tile[kLanes];
    if constexpr (kExact) {
      share_of_total(alpha_e.blank_exponent + i, beta_e.blank_exponent + i, total_exponent, blank_1, blank_2);
      share_of_total(alpha_e.label_exponent + i, beta_e.label_exponent + i + 1, total_exponent, label_1, label_2);
    }
    for (int j = 0; j < kLanes; ++j) {
      const std::int64_t at = j * pitch + i;
      F64 blank{};
      if constexpr (!kExact) {
        blank = load<F64>(alpha_blank + at) * load<F64>(beta_blank + at);
        tile[j] = load<F64>(alpha_label + at) * load<F64>(beta_label + at);
      } else if (group + j == one) {
        blank = scaled_product(load<F64>(alpha_blank + at), blank_1, load<F64>(beta_blank + at), blank_2);
        tile[j] = scaled_product(load<F64>(alpha_label + at), label_1, load<F64>(beta_label + at), label_2);
      } else {
        tile[j] = F64{};
        continue;
      }
      blank_sum[j] += blank;
      if (states_blank != nullptr) {
        store(states_blank + at, blank);
        store(states_label + at, tile[j]);
      }
    }
    transpose(tile);
    for (int j = 0; j < kLanes; ++j) {
      double* const sum = per_slot + std::int64_t{slots[i + j]} * kBlock;
      store(sum, load<F64>(sum) + tile[j]);
    }
  }
  for (int j = 0; j < kLanes; ++j) to.blank[group + j] += sum_of_lanes(blank_sum[j]);
}

inline void accumulate_occupancy(Range range, int frames, const KeptBlock& alpha, const KeptBlock& beta,
                                 std::int64_t total_exponent, const std::int32_t* slots, const Occupancy& to) {
  if (alpha.exact || beta.exact) {
    for (int k = 0; k < frames; ++k)
      accumulate_group<true>(range, k / kLanes * kLanes, k, alpha, beta, total_exponent, slots, to);
  } else {
    for (int group = 0; group < frames; group += kLanes)
      accumulate_group<false>(range, group, 0, alpha, beta, total_exponent, slots, to);
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
