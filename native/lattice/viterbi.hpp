// The recursion of the best path: CTC in the semiring of maximum and sum, over blocks of frames.
//
// Positions are those of target.hpp. With x the log-probabilities of a frame (forward_backward.hpp has the same with
// sums of probabilities):
//
//     B'[i] = max(B[i], L[i-1])                    + x(blank)
//     L'[i] = max(L[i], B[i], L[i-1] + skip[i])    + x(label i)       skip[i]: 0 if label i differs from label i-1
//                                                                              -infinity otherwise
//
// Everything is computed in double: one rounded addition per frame and state; maxima do not round. Block size does not
// change a value, so walking again gives the same decisions.
#pragma once

#include <limits>

#include "lattice/target.hpp"
#include "simd/simd.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr int kStep = 2 * kLanes;  // positions are walked in multiples of this: a whole vector of floats
constexpr double kImpossible = -std::numeric_limits<double>::infinity();

// The log-probability of the best path to each state.
struct ScoreRow {
  double *blank, *label;
};

// The larger of two values, neither of which is a NaN.
inline F64 best(F64 a, F64 b) {
#if CTCKIT_VECTOR_BYTES == 64
  return (F64)_mm512_maskz_max_pd(kAll8, (__m512d)a, (__m512d)b);
#elif CTCKIT_VECTOR_BYTES == 32
  return (F64)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
  return larger(a, b);
#endif
}

// Where a label may follow the one before it directly, and the larger of `a` and, there, `b`.
#if CTCKIT_VECTOR_BYTES == 64
using Skips = __mmask8;
inline Skips load_skips(const double* skip) { return _mm512_cmp_pd_mask(_mm512_loadu_pd(skip), __m512d{}, _CMP_EQ_OQ); }
inline F64 best_if(Skips skips, F64 a, F64 b) {
  return (F64)_mm512_mask_max_pd((__m512d)a, skips, (__m512d)a, (__m512d)b);
}
#else
using Skips = F64;
inline Skips load_skips(const double* skip) { return load<F64>(skip); }
inline F64 best_if(Skips skips, F64 a, F64 b) { return best(a, b + skips); }
#endif

// Walks `frames` frames over Vectors vectors of positions, held in registers. `emissions` has one row per frame. `edge`
// holds, for each frame, the label value that flows in from the left, and is replaced by the one that flows on. With
// Keep, every frame's values are stored, `pitch` apart.
template <int Vectors, bool Keep, class Real>
inline void walk_group(int frames, const ScoreRow& row, const double* skip, const Real* emissions, const double* blanks,
                       double* edge, const ScoreRow& kept, std::int64_t pitch) {
  F64 blank[Vectors], label[Vectors];
  Skips skips[Vectors];
  for (int v = 0; v < Vectors; ++v) {
    blank[v] = load<F64>(row.blank + v * kLanes);
    label[v] = load<F64>(row.label + v * kLanes);
    skips[v] = load_skips(skip + v * kLanes);
  }
  for (int k = 0; k < frames; ++k) {
    F64 left = broadcast<F64>(edge[k]);
    edge[k] = label[Vectors - 1][kLanes - 1];
    const F64 blank_emission = broadcast<F64>(blanks[k]);
    F64 before[Vectors];
    for (int v = Vectors - 1; v > 0; --v) before[v] = shift_up(label[v - 1], label[v]);
    before[0] = shift_up(left, label[0]);
    for (int v = 0; v < Vectors; ++v) {
      const F64 into_label = best_if(skips[v], best(label[v], blank[v]), before[v]);
      const F64 into_blank = best(blank[v], before[v]);
      label[v] = into_label + load_widened(emissions + (k * kVectorsPerGroup + v) * kLanes);
      blank[v] = into_blank + blank_emission;
      if constexpr (Keep) {
        store(kept.blank + k * pitch + v * kLanes, blank[v]);
        store(kept.label + k * pitch + v * kLanes, label[v]);
      }
    }
  }
  for (int v = 0; v < Vectors; ++v) {
    store(row.blank + v * kLanes, blank[v]);
    store(row.label + v * kLanes, label[v]);
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
