// The recursion of the best path: CTC in the semiring of maximum and sum, over blocks of frames.
//
// Position i of a target of S labels holds label i and the blank before it (position S: the last blank, no label).
// With x the log-probabilities of a frame (see recursion.hpp for the same with sums of probabilities):
//
//     B'[i] = max(B[i], L[i-1])                    + x(blank)
//     L'[i] = max(L[i], B[i], L[i-1] + skip[i])    + x(label i)       skip[i]: 0 if label i differs from label i-1
//                                                                              -infinity otherwise
// Everything is computed in double: one rounded addition per frame, and maxima that round nothing, in an order that no
// blocking changes. So a state's value is the same whichever way it was come by, and decisions can be made again.
#pragma once

#include <limits>

#include "base/arena.hpp"
#include "base/batch.hpp"
#include "simd/elements.hpp"

namespace ctckit::CTCKIT_ISA::viterbi {
namespace {

constexpr int kFrames = 16;        // in a block; the states stay in registers that long
constexpr int kGroup = 4;          // vectors of positions walked side by side
constexpr int kStep = 2 * kLanes;  // positions are walked in multiples of this: a whole vector of floats
constexpr double kImpossible = -std::numeric_limits<double>::infinity();

// The values of the states: log of the probability of the best path to each.
struct Row {
  double *blank, *label;
};

// The larger of two that are no NaN.
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

inline F64 load_widened(const float* from) { return widen_half(load<F32Half>(from)); }
inline F64 load_widened(const double* from) { return load<F64>(from); }

// Walks `frames` frames over Vectors vectors of positions, held in registers. `emissions` has one row per frame. `edge`
// holds, for each frame, the label value that flows in from the left, and is replaced by the one that flows on. With
// Keep, every frame's values are stored, `pitch` apart.
template <int Vectors, bool Keep, class Real>
inline void walk_group(int frames, const Row& row, const double* skip, const Real* emissions, const double* blanks,
                       double* edge, const Row& kept, std::int64_t pitch) {
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
      label[v] = into_label + load_widened(emissions + (k * kGroup + v) * kLanes);
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

// The log-probabilities of a block of frames, brought from the caller's [frame][class], of any strides, to the
// [frame][position] that the recursion walks: through a table [slot][frame] of the classes, whose rows are copied to
// the positions that name them and transposed there.
template <class T>
class EmissionTable {
 public:
  using Real = typename ComputedIn<T>::Real;

 private:
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  static constexpr int kWidth = sizeof(Vector) / sizeof(Real);
  static_assert(kFrames % kWidth == 0 && kStep % kWidth == 0);

 public:
  // `width`: positions, a multiple of kStep.
  EmissionTable(const Batch& batch, std::int64_t n, std::int64_t width, Arena& arena)
      : batch_(batch),
        base_(static_cast<const T*>(batch.emissions) + n * batch.strides.item),
        labels_(batch.target_lengths[n]),
        width_(width) {
    // With few classes beside the target's, whole frames are read; with many, only what the target names.
    whole_frames_ = batch.classes <= 128 || batch.classes <= 4 * labels_;
    classes_ = arena.take<std::int64_t>(width);
    slots_ = arena.take<std::int64_t>(width);
    named_ = arena.take<std::int64_t>(batch.classes <= labels_ ? batch.classes : labels_ + 1);
    slot_of_class_ = arena.take<std::int64_t>(batch.classes);
    pitch_ = (batch.classes + kWidth - 1) / kWidth * kWidth;
    table_ = arena.take<Real>((whole_frames_ ? pitch_ : labels_ + 1) * kFrames);
    if (whole_frames_) frames_ = arena.take<Real>(pitch_ * kFrames);
    rows_ = arena.take<Real>(kFrames * kGroup * kLanes);
  }

  void choose_slots(const std::int64_t* target) {
    for (std::int64_t c = 0; c < batch_.classes; ++c) slot_of_class_[c] = -1;
    const auto name = [&](std::int64_t c) {
      if (slot_of_class_[c] < 0) {
        slot_of_class_[c] = whole_frames_ ? c : used_;
        named_[used_++] = c;
      }
      return slot_of_class_[c] * kFrames;
    };
    blank_slot_ = name(batch_.blank);
    for (std::int64_t i = 0; i < width_; ++i) {
      classes_[i] = i < labels_ ? target[i] : batch_.blank;  // positions without a label: any that is named
      slots_[i] = name(classes_[i]);
    }
  }

  // Reads frames [t, t + frames), for a walk over the given number of positions. Returns whether all that the target
  // names are log-probabilities: neither NaN nor +infinity. A walk over frames that have been read before need not
  // be told, and may leave out what it has no use for.
  bool read(std::int64_t t, int frames, std::int64_t positions, bool again) {
    first_ = base_ + t * batch_.strides.frame;
    count_ = frames;
    direct_ = again && positions < (whole_frames_ ? batch_.classes / 4 : used_);
    if (direct_) {
      for (int k = 0; k < kFrames; ++k) blanks_[k] = static_cast<double>(widen(at(k, batch_.blank)));
      return true;
    }
    if (whole_frames_) {
      transpose_frames();
    } else {
      for (int k = 0; k < kFrames; ++k)
        for (std::int64_t u = 0; u < used_; ++u) table_[u * kFrames + k] = static_cast<Real>(widen(at(k, named_[u])));
    }
    for (int k = 0; k < kFrames; ++k) blanks_[k] = static_cast<double>(table_[blank_slot_ + k]);
    if (again) return true;
    Integers bad{};
    for (std::int64_t u = 0; u < used_; ++u) {
      const Real* values = table_ + (whole_frames_ ? named_[u] : u) * kFrames;
      for (int k = 0; k < kFrames; k += kWidth)
        bad |= ~(load<Vector>(values + k) < std::numeric_limits<Real>::infinity());
    }
    return !any_lane(bad);
  }

  const double* blanks() const { return blanks_; }

  // [frame][position] of the vectors of positions from i, rows as `walk_group` reads them.
  template <int Vectors>
  const Real* rows_from(std::int64_t i) {
    constexpr int positions = Vectors * kLanes, pitch = kGroup * kLanes;
    if (direct_) {
      for (int k = 0; k < count_; ++k)
        for (int j = 0; j < positions; ++j) rows_[k * pitch + j] = static_cast<Real>(widen(at(k, classes_[i + j])));
      return rows_;
    }
    for (int j = 0; j < positions; j += kWidth) {
      for (int k = 0; k < count_; k += kWidth) {
        Vector tile[kWidth];
        for (int w = 0; w < kWidth; ++w) tile[w] = load<Vector>(table_ + slots_[i + j + w] + k);
        transpose(tile);
        for (int w = 0; w < kWidth; ++w) store(rows_ + (k + w) * pitch + j, tile[w]);
      }
    }
    return rows_;
  }

 private:
  T at(int k, std::int64_t c) const {  // beyond the last frame: the first, which is as good as any
    return first_[(k < count_ ? k : 0) * batch_.strides.frame + c * batch_.strides.clazz];
  }

  void transpose_frames() {
    const std::int64_t stride = batch_.strides.clazz, classes = batch_.classes;
    for (int k = 0; k < kFrames; ++k) {
      const T* from = first_ + (k < count_ ? k : 0) * batch_.strides.frame;
      Real* to = frames_ + k * pitch_;
      if (std::is_same_v<T, Real> && stride == 1) {
        std::memcpy(to, from, static_cast<std::size_t>(classes) * sizeof(Real));
      } else if (stride == 1) {
        for (std::int64_t c = 0; c < classes; ++c) to[c] = static_cast<Real>(widen(from[c]));
      } else {
        for (std::int64_t c = 0; c < classes; ++c) to[c] = static_cast<Real>(widen(from[c * stride]));
      }
      for (std::int64_t c = classes; c < pitch_; ++c) to[c] = 0;
    }
    for (int k = 0; k < kFrames; k += kWidth) {
      for (std::int64_t c = 0; c < pitch_; c += kWidth) {
        Vector tile[kWidth];
        for (int w = 0; w < kWidth; ++w) tile[w] = load<Vector>(frames_ + (k + w) * pitch_ + c);
        transpose(tile);
        for (int w = 0; w < kWidth; ++w) store(table_ + (c + w) * kFrames + k, tile[w]);
      }
    }
  }

  const Batch& batch_;
  const T* base_;
  std::int64_t labels_, width_, used_ = 0, blank_slot_ = 0, pitch_;
  bool whole_frames_, direct_ = false;
  const T* first_ = nullptr;  // the block that was read
  int count_ = 0;
  std::int64_t *classes_, *slots_;  // position -> its class, its place in the table
  std::int64_t *named_, *slot_of_class_;
  Real *table_, *frames_ = nullptr, *rows_;
  double blanks_[kFrames];
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA::viterbi
