// The caller's frames as contiguous rows of classes.
#pragma once

#include "base/batch.hpp"
#include "simd/elements.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class T>
class FrameRows {
 public:
  using Real = typename ComputedIn<T>::Real;
  static constexpr bool kNative = std::is_same_v<T, Real>;

  FrameRows(const Batch& batch, std::int64_t n)
      : base_(static_cast<const T*>(batch.emissions) + n * batch.strides.item),
        frame_stride_(batch.strides.frame),
        class_stride_(batch.strides.clazz),
        classes_(batch.classes) {}

  // Whether frames can be used without a copy.
  bool in_place() const { return kNative && class_stride_ == 1; }

  // Frame t: in place, or copied to `buffer`.
  const Real* row(std::int64_t t, Real* buffer) const {
    const T* from = address(t);
    if (class_stride_ == 1) {
      if constexpr (kNative) return from;
      for (std::int64_t c = 0; c < classes_; ++c) buffer[c] = widen(from[c]);
    } else {
      for (std::int64_t c = 0; c < classes_; ++c) buffer[c] = widen(from[c * class_stride_]);
    }
    return buffer;
  }

  const T* address(std::int64_t t) const { return base_ + t * frame_stride_; }

  // Frame t, to read single classes of it.
  struct Values {
    Real operator[](std::int64_t c) const { return widen(from[c * stride]); }
    const T* from;
    std::int64_t stride;
  };
  Values values(std::int64_t t) const { return {address(t), class_stride_}; }

  Real at(std::int64_t t, std::int64_t c) const { return values(t)[c]; }

  // Prefetches a frame. (The hardware does not: the frames of an item are far apart in memory.)
  void prefetch(std::int64_t t) const {
    constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T)), most = 8 * line;
    if (class_stride_ != 1) return;
    const T* from = address(t);
    for (std::int64_t c = 0; c < classes_ && c < most; c += line) __builtin_prefetch(from + c);
  }

 private:
  const T* base_;
  std::int64_t frame_stride_, class_stride_, classes_;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
