// From the caller's tensor to emissions: a table of a block of frames with a row per class that the target names (a
// slot) and a column per frame.
//
// Emissions are relative to the frame's largest class: that of the largest class is exactly 1, so confident frames add
// no rounding. The divisors are accumulated separately, in double.
//
// For logits with few classes, the softmax of all classes is computed once and kept for the gradient. With many
// classes, only that of the named classes is, and the gradient computes the softmax again.
#pragma once

#include "lattice/classes.hpp"
#include "lattice/forward_backward.hpp"
#include "lattice/frames.hpp"
#include "simd/softmax.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// log-likelihood = log(table result) + log_scale - log(normaliser)
struct BlockScale {
  double log_scale;
  double normaliser;
  bool nan;
};

struct ExactTable {  // emission = mantissa * 2^exponent
  const double* mantissa;
  const std::int64_t* exponent;
};

template <class T>
class EmissionSource {
  using Real = typename ComputedIn<T>::Real;
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  static constexpr int kWidth = sizeof(Vector) / sizeof(Real);  // frames side by side; kFramesPerBlock is a multiple
  static constexpr double kLog2E = 0x1.71547652b82fep0, kLog2ERest = 0x1.777d0ffda0d24p-56;
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static constexpr double kSmallest = -1.0 * (std::int64_t{1} << 40);          // the least log2 of an emission
  static constexpr Real kLowest = sizeof(Real) == 4 ? Real(-87) : Real(-708);  // e^kLowest is a normal number
  static constexpr std::int64_t kFewClasses = 1024;
  // In float, the difference of two halves is exact.
  using Precise = std::conditional_t<sizeof(T) == 2, RoundedExponential<Real>, PreciseExponential<Real>>;

 public:
  EmissionSource(const Batch& batch, std::int64_t n, Arena& arena)
      : logits_(batch.logits),
        classes_(batch.classes),
        frames_(batch.input_lengths[n]),
        precise_(2 * batch.classes <= batch.target_lengths[n]),
        rows_(batch, n),
        slots_(batch, n, kWidth, 0, arena),
        // An odd number of vectors, so that the rows of a block fall on different cache sets.
        pitch_(((batch.classes + kWidth - 1) / kWidth | 1) * kWidth) {
    table_ = arena.take<Real>(slots_.table_size());
    mantissas_ = arena.take<double>(slots_.table_size());
    exponents_ = arena.take<std::int64_t>(slots_.table_size());
    if (logits_) {
      maxima_ = arena.take<double>(frames_ + kFramesPerBlock);
      rests_ = arena.take<double>(frames_ + kFramesPerBlock);
      largest_slot_ = arena.take<Real>(frames_ + kFramesPerBlock);
    }
    if (!rows_.in_place())
      buffer_ = arena.take<Real>((few_classes() || slots_.whole_frames() ? kFramesPerBlock : 1) * pitch_);
  }

  void choose_slots(const Target& target, std::int32_t* slots) { slots_.choose(target, slots); }

  bool few_classes() const { return classes_ <= kFewClasses; }
  // The time that reading a frame takes, in positions of a walk; measured, to a factor of 2.
  std::int64_t cost_of_reading() const {
    return 40 + (logits_ ? classes_ * 5 / 8 : (slots_.whole_frames() ? classes_ : slots_.most()) / 8);
  }
  const Slots& slots() const { return slots_; }
  const FrameRows<T>& rows() const { return rows_; }
  double maximum(std::int64_t t) const { return maxima_[t]; }
  const double* rests(std::int64_t t) const { return rests_ + t; }  // of this and later frames; 0 after the last
  const Real* largest_slots(std::int64_t t) const { return largest_slot_ + t; }
  Real* row_buffer() const { return buffer_; }
  Real* table() const { return table_; }  // [slot][frame]

  // The number of values of a frame's softmax; 0 if it is not kept.
  std::int64_t softmax_pitch() const { return logits_ && few_classes() ? pitch_ : 0; }

  // Computes the normalisers of frames with many classes; call it before the first `read` of them. If `exponentials` is
  // not null, it gets each frame's exp(x - max), and then `use` is called.
  template <class Use>
  void sum_frames(std::int64_t t, int frames, Real* exponentials, Use use) {
    for (std::int64_t at = t; at < t + frames; ++at) {
      const Real* const row = rows_.row(at, buffer_);
      const Real* const next = rows_.in_place() && at + 1 < frames_ ? rows_.row(at + 1, buffer_) : row;
      const FrameSum sum =
          exponentials == nullptr ? sum_frame(row, classes_) : exponentials_of_frame(row, classes_, next, exponentials);
      maxima_[at] = sum.max;
      rests_[at] = sum.rest;
      if (exponentials != nullptr) use(at);
    }
    for (std::int64_t at = t + frames; at < t + kFramesPerBlock; ++at) rests_[at] = 0;
  }

  // Fills the table with the emissions of frames [t, t + frames). If softmax_pitch() and not `softmax_known`, also
  // fills `softmax` with exp(x - max) of all classes, and finds the normalisers. If `gradient` is not null, the frames'
  // gradient will be written there soon, a frame every `gradient_stride`.
  BlockScale read(std::int64_t t, int frames, bool first_time, Real* softmax, bool softmax_known,
                  const T* gradient = nullptr, std::int64_t gradient_stride = 0) {
    Real scale[kFramesPerBlock] = {};
    bool nan = false;
    if (softmax_pitch() != 0) {
      if (!softmax_known) compute_softmax(t, frames, softmax, gradient, gradient_stride);
      read_softmax(frames, softmax);
    } else {
      for (int k = 0; k < kFramesPerBlock && t + kFramesPerBlock + k < frames_; ++k)
        rows_.prefetch(t + kFramesPerBlock + k);
      nan = read_named(t, frames, scale);
    }
    zero_out(table_ + slots_.empty() * kFramesPerBlock);
    extreme_ = softmax_pitch() != 0 ? has_lost(t, frames) : extreme_;
    if (!logits_) {
      double log_scale = 0;
      for (int k = 0; k < frames; ++k) log_scale += static_cast<double>(scale[k]);
      return {log_scale, 1, nan};
    }
    constexpr int vectors = kFramesPerBlock / kLanes;
    F64 products[vectors];
    I64 confident{};
    for (int i = 0; i < vectors; ++i) {
      const F64 rest = load<F64>(rests_ + t + i * kLanes);
      products[i] = 1.0 + rest;
      confident |= rest < kConfident;
    }
    if (first_time && any_lane(confident)) find_largest(t);
    // A product of at most 16 sums over classes cannot overflow. Its order is the same for any width of a vector.
    for (int half = vectors / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) products[i] *= products[i + half];
    const double product = fold_lanes<kLanes / 2>(products[0], [](F64 a, F64 b) { return a * b; });
    return {0, product, nan || product != product};
  }

  // Whether an emission of the last block read is not 0, but too small for the table: take exact steps.
  bool extreme() const { return extreme_; }

  // Reads the block as mantissas and exponents, of any range.
  CTCKIT_COLD ExactTable read_exactly(std::int64_t t, int frames) {
    for (int k = 0; k < kFramesPerBlock; ++k) {
      const std::int64_t at = k < frames ? t + k : t;
      double scale = -kInfinity;
      for (std::int64_t u = 0; u < slots_.used() && !logits_; ++u) {
        const double x = static_cast<double>(rows_.at(at, slots_.class_of(u)));
        scale = x > scale ? x : scale;
      }
      if (logits_) scale = maxima_[at];
      if (scale == -kInfinity) scale = 0;
      for (std::int64_t u = 0; u < slots_.used(); ++u) {
        const double x = static_cast<double>(rows_.at(at, slots_.class_of(u))) - scale;
        const double y = x * kLog2E < kSmallest ? kSmallest : x * kLog2E, n = std::rint(y);
        // x log2(e) - n to the last digit: for a large x the rounding of the product would count.
        const double fraction = y == kSmallest ? 0.0 : std::fma(x, kLog2E, -n) + x * kLog2ERest;
        const bool never = x == -kInfinity;
        mantissas_[u * kFramesPerBlock + k] = never ? 0.0 : std::exp2(fraction);
        exponents_[u * kFramesPerBlock + k] = never ? 0 : static_cast<std::int64_t>(n);
      }
    }
    zero_out(mantissas_ + slots_.empty() * kFramesPerBlock);
    zero_out(exponents_ + slots_.empty() * kFramesPerBlock);
    return {mantissas_, exponents_};
  }

 private:
  template <class Number>
  static void zero_out(Number* row) {
    for (int k = 0; k < kFramesPerBlock; ++k) row[k] = 0;
  }

  void compute_softmax(std::int64_t t, int frames, Real* softmax, const T* gradient, std::int64_t gradient_stride) {
    const Real* rows[kFramesPerBlock];
    const T* next[kFramesPerBlock];
    for (int k = 0; k < frames; ++k) {
      rows[k] = rows_.row(t + k, buffer_ + k * pitch_);
      next[k] = rows_.address(t + kFramesPerBlock + k < frames_ ? t + kFramesPerBlock + k : t + k);
    }
    const auto prefetch = [&next, gradient, gradient_stride](int k, std::int64_t c) {
      __builtin_prefetch(next[k] + c);
      if (gradient != nullptr) __builtin_prefetch(gradient + k * gradient_stride + c, 1);
    };
    if (precise_) {
      softmax_rows<Precise>(rows, frames, classes_, softmax, pitch_, maxima_ + t, rests_ + t, prefetch);
    } else {
      softmax_rows<RoundedExponential<Real>>(rows, frames, classes_, softmax, pitch_, maxima_ + t, rests_ + t,
                                             prefetch);
    }
  }

  void read_softmax(int frames, const Real* softmax) {
    const Real* rows[kFramesPerBlock];
    for (int k = 0; k < kFramesPerBlock; ++k)
      rows[k] = softmax + (k < frames ? k : 0) * pitch_;  // beyond the end: any row
    if (slots_.whole_frames()) {
      slots_.transpose_frames(rows, pitch_, table_);
    } else {
      slots_.gather(table_, [&](int k) { return rows[k]; });
    }
  }

  // Fills the table with exp(x - scale) of the named classes. The scale is the frame's largest class; for
  // log-probabilities, the largest named one. Returns whether there is a NaN.
  bool read_named(std::int64_t t, int frames, Real (&scale)[kFramesPerBlock]) {
    if (slots_.whole_frames()) {
      const Real* rows[kFramesPerBlock];
      for (int k = 0; k < kFramesPerBlock; ++k) rows[k] = rows_.row(k < frames ? t + k : t, buffer_ + k * pitch_);
      slots_.transpose_frames(rows, classes_, table_);
    } else {
      slots_.gather(table_, [&](int k) { return rows_.values(k < frames ? t + k : t); });
    }
    constexpr Real infinity = std::numeric_limits<Real>::infinity();
    Integers nan{}, extreme{};
    for (int k = 0; k < kFramesPerBlock; k += kWidth) {
      Vector high = broadcast<Vector>(-infinity);
      for (std::int64_t u = 0; u < slots_.used() && !logits_; ++u)
        high = larger(load<Vector>(table_ + u * kFramesPerBlock + k), high);
      for (int j = 0; j < kWidth && logits_; ++j) high[j] = static_cast<Real>(maxima_[k + j < frames ? t + k + j : t]);
      // A frame in which no class is possible: emissions of 0 on any scale.
      high = high == -infinity ? Vector{} : high;
      store(scale + k, high);
      const Vector taken = Precise::taken(high);
      const Precise exponential{high - taken};
      for (std::int64_t u = 0; u < slots_.used(); ++u) {
        Real* const at = table_ + u * kFramesPerBlock + k;
        const Vector x = load<Vector>(at), below = x - high;
        nan |= below != below;
        extreme |= (below < kLowest) & (below > -infinity);
        store(at, exponential(x - taken));
      }
    }
    extreme_ = any_lane(extreme);
    return any_lane(nan);
  }

  // Whether the softmax of a named class underflowed in Real. (That of a logit of -infinity is 0.)
  bool has_lost(std::int64_t t, int frames) const {
    Integers zero{};
    for (std::int64_t u = 0; u < slots_.used(); ++u)
      for (int k = 0; k < kFramesPerBlock; k += kWidth)
        zero |= load<Vector>(table_ + u * kFramesPerBlock + k) == Real{0};
    if (!any_lane(zero)) return false;
    for (std::int64_t u = 0; u < slots_.used(); ++u)
      for (int k = 0; k < frames; ++k)
        if (table_[u * kFramesPerBlock + k] == 0 && rows_.at(t + k, slots_.class_of(u)) > -kInfinity) return true;
    return false;
  }

  // Finds the slot of each frame's largest class; -1 if the target does not name it.
  void find_largest(std::int64_t t) {
    for (int k = 0; k < kFramesPerBlock; k += kWidth) {
      Vector largest = broadcast<Vector>(Real{-1});
      for (std::int64_t u = 0; u < slots_.used(); ++u)
        largest = load<Vector>(table_ + u * kFramesPerBlock + k) == Real{1} ? broadcast<Vector>(static_cast<Real>(u))
                                                                            : largest;
      store(largest_slot_ + t + k, largest);
    }
  }

  bool logits_;
  std::int64_t classes_, frames_;
  bool precise_;  // of a softmax of few classes; with more of them, its exponentials take most of the time
  FrameRows<T> rows_;
  Slots slots_;
  std::int64_t pitch_;
  bool extreme_ = false;
  Real *table_, *buffer_ = nullptr, *largest_slot_ = nullptr;
  double* mantissas_;
  std::int64_t* exponents_;
  double *maxima_ = nullptr, *rests_ = nullptr;  // of all frames, see `FrameSum`
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
