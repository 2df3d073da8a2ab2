// From the occupancy of a block of frames to the caller's output: the gradient of logits (softmax - occupancy), that of
// log-probabilities (-occupancy), or the occupancy itself.
#pragma once

#include "lattice/emissions.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class T>
class GradientSink {
  using Real = typename ComputedIn<T>::Real;
  static constexpr bool kNative = std::is_same_v<T, Real>;
  using Vector = typename VectorOf<Real>::Values;
  static constexpr int kWidth = sizeof(Vector) / sizeof(Real);

 public:
  GradientSink(const Batch& batch, std::int64_t n, bool few_classes, Arena& arena)
      : batch_(batch),
        softmax_(batch.output == Output::gradient && batch.logits),
        out_(static_cast<T*>(batch.out) + n * batch.out_strides.item) {
    // With many classes the softmax half is written as soon as it is computed, unless it overwrites the emissions.
    early_ = kNative && softmax_ && !few_classes && batch.out != batch.emissions;
    if (!kNative || early_) row_ = arena.take<Real>(batch.classes);
  }

  // Room for a frame's exp(x - max), if `write_early` is to be called for every frame; else null.
  Real* early_row() const { return early_ ? row_ : nullptr; }

  // Writes the softmax half of a frame's gradient from the exponentials in `early_row`.
  void write_early(const EmissionSource<T>& source, std::int64_t t, double weight) const {
    if constexpr (kNative)
      stream_scaled(row_, batch_.classes, static_cast<Real>(weight / (1 + *source.rests(t))), out_row(t));
  }

  // Writes frames [t, t + frames). `share`, [slot][frame], is their occupancy in units of 1 / total; it becomes the
  // target's part of the gradient. `softmax` is that of the block, if the source keeps it.
  void write(EmissionSource<T>& source, std::int64_t t, int frames, Real* share, double total, double weight,
             const Real* softmax) {
    const Slots& slots = source.slots();
    const bool gradient = batch_.output == Output::gradient;
    const auto scale = static_cast<Real>(gradient ? -weight / total : 1 / total);
    for (std::int64_t at = 0; at < slots.used() * kFramesPerBlock; at += kWidth)
      store(share + at, load<Vector>(share + at) * scale);
    for (int k = 0; k < kFramesPerBlock; ++k) share[slots.unnamed() * kFramesPerBlock + k] = 0;
    const std::int64_t pitch = source.softmax_pitch();
    Real inverse[kFramesPerBlock] = {};  // factor from exp(x - max) to weight times softmax
    for (int k = 0; k < kFramesPerBlock && softmax_ && !early_; k += kLanes)
      store_narrowed(inverse + k, weight / (1.0 + load<F64>(source.rests(t) + k)));
    if (early_) {
      for (int k = 0; k < kFramesPerBlock && t >= kFramesPerBlock;
           ++k)  // what the next block adds to lies scattered over memory
        for (std::int64_t u = 0; u < slots.used(); ++u)
          __builtin_prefetch(out_row(t - kFramesPerBlock + k) + slots.class_of(u), 1);
      for (int k = 0; k < frames; ++k) {
        T* const row = out_row(t + k);
        for (std::int64_t u = 0; u < slots.used(); ++u)
          row[slots.class_of(u)] = narrow<T>(widen(row[slots.class_of(u)]) + share[u * kFramesPerBlock + k]);
      }
    } else if (slots.whole_frames() && (!softmax_ || pitch != 0)) {
      write_transposed(source, t, frames, share, inverse, softmax);
    } else {
      for (int k = 0; k < frames; ++k) write_row(source, t + k, k, share, inverse[k], softmax + k * pitch);
    }
    if (softmax_) write_largest(source, t, frames, share, weight);
  }

  // Call this after the last write.
  void finish() const {
    if (early_) finish_streams();
  }

 private:
  T* out_row(std::int64_t t) const { return out_ + t * batch_.out_strides.frame; }

  void write_transposed(const EmissionSource<T>& source, std::int64_t t, int frames, const Real* share,
                        const Real (&inverse)[kFramesPerBlock], const Real* softmax) const {
    const Slots& slots = source.slots();
    const std::int64_t pitch = source.softmax_pitch();
    for (int group = 0; group < frames; group += kWidth) {
      for (std::int64_t c = 0; c < batch_.classes; c += kWidth) {
        Vector tile[kWidth];
        for (int j = 0; j < kWidth; ++j)
          tile[j] = load<Vector>(share + slots.of_class(c + j) * kFramesPerBlock + group);
        transpose(tile);
        const std::int64_t count = batch_.classes - c < kWidth ? batch_.classes - c : kWidth;
        for (int j = 0; j < kWidth && group + j < frames; ++j) {
          Vector value = tile[j];
          if (softmax_) value += load<Vector>(softmax + (group + j) * pitch + c) * inverse[group + j];
          T* const to = out_row(t + group + j) + c;
          if (kNative && count == kWidth) {
            store(to, value);
          } else if constexpr (kNative) {
            store_first(to, value, count);
          } else {
            for (int lane = 0; lane < count; ++lane) to[lane] = narrow<T>(value[lane]);
          }
        }
      }
    }
  }

  void write_row(EmissionSource<T>& source, std::int64_t t, int k, const Real* share, Real inverse,
                 const Real* softmax) {
    const Slots& slots = source.slots();
    const std::int64_t classes = batch_.classes;
    T* const out = out_row(t);
    Real* to = row_;
    if constexpr (kNative) to = out;
    if (!softmax_) {
      std::memset(to, 0, static_cast<std::size_t>(classes) * sizeof(Real));
    } else if (source.softmax_pitch() != 0) {
      scale_row(softmax, classes, inverse, to);
    } else {
      const Real* const row = source.rows().row(t, source.row_buffer());
      scaled_softmax(row, classes, static_cast<Real>(source.maximum(t)), inverse, to);
    }
    if (source.softmax_pitch() != 0 && softmax_) {  // adding to the row would wait for its store
      for (std::int64_t u = 0; u < slots.used(); ++u) {
        const std::int64_t c = slots.class_of(u);
        to[c] = softmax[c] * inverse + share[u * kFramesPerBlock + k];
      }
    } else {
      for (std::int64_t u = 0; u < slots.used(); ++u) to[slots.class_of(u)] += share[u * kFramesPerBlock + k];
    }
    if constexpr (!kNative)
      for (std::int64_t c = 0; c < classes; ++c) out[c] = narrow<T>(to[c]);
  }

  // Where a model is confident, softmax and occupancy of the largest class cancel. Minus the sum of the other classes'
  // gradients is the same value without cancellation.
  void write_largest(const EmissionSource<T>& source, std::int64_t t, int frames, const Real* share,
                     double weight) const {
    const std::int64_t used = source.slots().used();
    const double* const rests = source.rests(t);
    I64 any{};
    for (int k = 0; k < kFramesPerBlock; k += kLanes) any |= load<F64>(rests + k) < kConfident;
    if (!any_lane(any)) return;
    Vector largest[kFramesPerBlock / kWidth], others[kFramesPerBlock / kWidth] = {};
    for (int k = 0; k < kFramesPerBlock; k += kWidth) largest[k / kWidth] = load<Vector>(source.largest_slots(t) + k);
    for (std::int64_t u = 0; u < used; ++u) {
      for (int j = 0; j < kFramesPerBlock / kWidth; ++j)
        others[j] +=
            largest[j] == static_cast<Real>(u) ? Vector{} : load<Vector>(share + u * kFramesPerBlock + j * kWidth);
    }
    for (int k = 0; k < frames; ++k) {
      const double rest = rests[k];
      const Real slot = largest[k / kWidth][k % kWidth];
      if (rest >= kConfident || slot < 0) continue;
      const double value = -static_cast<double>(others[k / kWidth][k % kWidth]) - weight * rest / (1 + rest);
      out_row(t + k)[source.slots().class_of(static_cast<std::int64_t>(slot))] = narrow<T>(value);
    }
  }

  const Batch& batch_;
  bool softmax_;
  T* out_;
  bool early_;
  Real* row_ = nullptr;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
