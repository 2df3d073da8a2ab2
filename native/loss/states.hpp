// From the occupancy of a block of frames to the caller's output per state: of all states, or of one state per frame
// along a path.
#pragma once

#include "loss/occupancy.hpp"
#include "simd/elements.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class T>
class StateSink {
  using Real = typename ComputedIn<T>::Real;

 public:
  StateSink(const Batch& batch, std::int64_t n) : batch_(batch), n_(n) {}

  bool wanted() const { return batch_.state_occupancy != nullptr || batch_.path_occupancy != nullptr; }

  // Writes frames [t, t + frames), whose occupancy is in units of 1 / total, with rows `pitch` apart.
  CTCKIT_COLD void write(std::int64_t t, int frames, Range range, const Occupancy<Real>& occupancy, std::int64_t pitch,
                         double total) const {
    for (int k = 0; k < frames; ++k) {
      const auto share = [&](std::int64_t s) {
        return narrow<T>(share_of(s, range, occupancy.blank + k * pitch, occupancy.label + k * pitch, total));
      };
      if (batch_.state_occupancy != nullptr) {
        T* const to = row(t + k);
        for (std::int64_t s = 0; s < batch_.state_width; ++s) to[s] = share(s);
      }
      if (batch_.path_occupancy != nullptr) cell(t + k) = share(batch_.path_states[n_ * batch_.frames + t + k]);
    }
  }

  void fill(std::int64_t t, T filler) const {
    if (batch_.state_occupancy != nullptr)
      for (T *s = row(t), *end = s + batch_.state_width; s < end; ++s) *s = filler;
    if (batch_.path_occupancy != nullptr) cell(t) = filler;
  }

 private:
  T* row(std::int64_t t) const {
    return static_cast<T*>(batch_.state_occupancy) + (t * batch_.items + n_) * batch_.state_width;
  }
  T& cell(std::int64_t t) const { return static_cast<T*>(batch_.path_occupancy)[n_ * batch_.frames + t]; }

  // The occupancy of a state; 0 if the item has no such state.
  double share_of(std::int64_t s, Range range, const Real* blank, const Real* label, double total) const {
    const std::int64_t i = s / 2;
    const bool inside = s >= 0 && s <= 2 * batch_.target_lengths[n_] && i >= range.begin && i < range.end;
    return inside ? static_cast<double>((s % 2 == 0 ? blank : label)[i]) / total : 0.0;
  }

  const Batch& batch_;
  std::int64_t n_;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
