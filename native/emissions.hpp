// The two ends of an item: emissions read from the caller's tensor, gradient written to it. The recursion in between
// sees tables of one row per class that the target names (a "slot") and one column per frame of a block.
//
// Emissions are relative to the frame's largest class: the best class's is exactly 1, so that runs of confident frames
// add no rounding. What that divides by is added up apart, in double.
#pragma once

#include "arena.hpp"
#include "batch.hpp"
#include "dense.hpp"
#include "recursion.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

struct BlockScale {
  double log_scale;  // the frames' log-likelihood is this much above what the table says
  bool extreme;      // some emission is too small for a double: take exact steps
  bool nan;
};

struct ExactTable {  // emission = mantissa * 2^exponent
  const double* mantissa;
  const std::int64_t* exponent;
};

template <class T>
class EmissionSource {
  using Real = typename ComputedIn<T>::Real;
  static constexpr bool kNative = std::is_same_v<T, Real>;
  using Vector = typename VectorOf<Real>::Values;
  using Integers = typename VectorOf<Real>::Integers;
  static constexpr int kWidth = sizeof(Vector) / sizeof(Real);  // frames side by side; kBlock is a multiple
  static constexpr double kLog2E = 0x1.71547652b82fep0, kLog2ERest = 0x1.777d0ffda0d24p-56;
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static constexpr double kSmallest = -1.0 * (std::int64_t{1} << 40);  // log2 of an emission: less counts as this

 public:
  EmissionSource(const Batch& batch, std::int64_t n, Arena& arena)
      : batch_(batch), base_(static_cast<const T*>(batch.emissions) + n * batch.strides.item) {
    const std::int64_t distinct = batch.target_lengths[n] + 1;
    // With few classes beside the target's, whole rows are transposed instead of gathered, and need no second softmax.
    whole_rows_ = batch.classes <= 3 * distinct || batch.classes <= 128;
    slots_ = whole_rows_ || batch.classes < distinct ? batch.classes : distinct;
    if (!whole_rows_) slot_of_class_ = arena.take<std::int32_t>(batch.classes);
    class_of_slot_ = arena.take<std::int64_t>(slots_);
    named_ = arena.take<bool>(slots_);
    raw_ = arena.take<Real>(table_size());
    mantissas_ = arena.take<double>(table_size());
    exponents_ = arena.take<std::int64_t>(table_size());
    if (batch.logits) sums_ = arena.take<FrameSum>(batch.input_lengths[n]);
    row_ = arena.take<Real>((whole_rows_ ? kBlock : 1) * row_pitch());
  }

  // Rows of slots, rounded up to whole squares, and one more of zeros for positions without a label.
  std::int64_t table_size() const { return (slots_ + 1 + kWidth) * kBlock; }
  std::int64_t empty_slot() const { return used_; }
  std::int64_t blank_slot() const { return whole_rows_ ? batch_.blank : 0; }

  void choose_slots(const std::int64_t* target, std::int64_t labels, std::int32_t* slots) {
    if (whole_rows_) {
      used_ = batch_.classes;
      for (std::int64_t c = 0; c < used_; ++c) {
        class_of_slot_[c] = c;
        named_[c] = false;
      }
      named_[batch_.blank] = true;
      for (std::int64_t i = 0; i < labels; ++i) {
        slots[i] = static_cast<std::int32_t>(target[i]);
        named_[target[i]] = true;
      }
      return;
    }
    for (std::int64_t c = 0; c < batch_.classes; ++c) slot_of_class_[c] = -1;
    slot_of_class_[batch_.blank] = 0;
    class_of_slot_[0] = batch_.blank;
    used_ = 1;
    for (std::int64_t i = 0; i < labels; ++i) {
      std::int32_t& slot = slot_of_class_[target[i]];
      if (slot < 0) {
        class_of_slot_[used_] = target[i];
        slot = static_cast<std::int32_t>(used_++);
      }
      slots[i] = slot;
    }
    for (std::int64_t u = 0; u < used_; ++u) named_[u] = true;
  }

  // The emissions of frames [t, t + frames), [slot][frame]. The first time also finds the frames' normalisers.
  BlockScale read(std::int64_t t, int frames, bool first_time, double* table) {
    if (batch_.logits && first_time && !whole_rows_) {
      for (int k = 0; k < frames; ++k) sums_[t + k] = sum_frame(contiguous_row(t + k, row_), batch_.classes);
    }
    Real scale[kBlock];
    const bool narrow_range = read_raw(t, frames, scale);
    F64 sums[kBlock / kLanes] = {};
    const bool extreme =
        narrow_range ? exponentials<true>(scale, table, sums) : exponentials<false>(scale, table, sums);
    std::memset(table + used_ * kBlock, 0, kBlock * sizeof(double));
    double rest[kBlock];
    if (first_time && whole_rows_ && batch_.logits) rest_of_sums(table, sums, rest);

    bool nan = false;
    double log_scale = 0, product = 1;  // the product of at most 16 sums over classes is far from the end of the range
    for (int k = 0; k < frames; ++k) {
      const double sum = sums[k / kLanes][k % kLanes];
      nan |= sum != sum;
      if (!batch_.logits) {
        log_scale += static_cast<double>(scale[k]);
        continue;
      }
      if (first_time && whole_rows_) sums_[t + k] = {static_cast<double>(scale[k]), rest[k]};
      product *= 1 + sums_[t + k].rest;
    }
    return {log_scale - std::log(product), extreme, nan || product != product};
  }

  // The same with exponents apart, for any range.
  ExactTable read_exactly(std::int64_t t, int frames) {
    Real scale[kBlock];
    read_raw(t, frames, scale);
    for (std::int64_t u = 0; u < used_; ++u) {
      if (!named_[u]) continue;
      for (int k = 0; k < kBlock; ++k) {
        const std::int64_t at = u * kBlock + k;
        const double x = static_cast<double>(raw_[at]) - static_cast<double>(scale[k]);
        const double y = x * kLog2E < kSmallest ? kSmallest : x * kLog2E, n = std::rint(y);
        // x log2(e) - n to the last digit: for a large x its own rounding would count.
        const double fraction = y == kSmallest ? 0.0 : std::fma(x, kLog2E, -n) + x * kLog2ERest;
        const bool never = x == -kInfinity;
        mantissas_[at] = never ? 0.0 : std::exp2(fraction);
        exponents_[at] = never ? 0 : static_cast<std::int64_t>(n);
      }
    }
    for (int k = 0; k < kBlock; ++k) mantissas_[used_ * kBlock + k] = 0;
    for (int k = 0; k < kBlock; ++k) exponents_[used_ * kBlock + k] = 0;
    return {mantissas_, exponents_};
  }

  // Writes frames [t, t + frames): weight times softmax - occupancy for logits, -occupancy for log-probabilities, or
  // the occupancy itself. `occupancy`, [slot][frame], is in units of 1 / total, and is overwritten.
  void write(std::int64_t t, int frames, const double* table, double* occupancy, double total, double weight, T* out) {
    const bool gradient = batch_.output == Output::gradient, softmax = gradient && batch_.logits;
    double share[kBlock] = {};  // weight / normaliser, by which emissions become softmax
    for (int k = 0; k < frames && softmax; ++k) share[k] = weight / (1 + sums_[t + k].rest);
    const double scale = gradient ? -weight / total : 1 / total;
    double largest_gradient[kBlock];
    const bool confident = softmax && gradient_of_largest(t, frames, table, occupancy, total, weight, largest_gradient);
    Real* const result = raw_;
    Real real_share[kBlock];
    for (int k = 0; k < kBlock; ++k) real_share[k] = static_cast<Real>(share[k]);
    for (std::int64_t u = 0; u < used_; ++u) {
      if (!named_[u]) {
        for (int k = 0; k < kBlock; k += kWidth) {
          const Vector p = softmax ? load<Vector>(reals(table, u) + k) * load<Vector>(real_share + k) : Vector{};
          store(result + u * kBlock + k, p);
        }
        continue;
      }
      for (int k = 0; k < kBlock; k += kLanes) {
        const std::int64_t at = u * kBlock + k;
        F64 value = load<F64>(occupancy + at) * scale;
        if (softmax) value += load<F64>(table + at) * load<F64>(share + k);
        if (confident) {
          const F64 largest = load<F64>(largest_gradient + k);
          value = (load<F64>(table + at) == 1.0) & (largest == largest) ? largest : value;
        }
        store_narrowed(result + at, value);
      }
    }
    if (whole_rows_) return write_whole_rows(frames, result, out);
    for (int k = 0; k < frames; ++k) {
      T* out_row = out + k * batch_.out_strides.frame;
      Real* to = row_;
      if constexpr (kNative) to = out_row;
      if (softmax) {
        scaled_softmax(contiguous_row(t + k, row_), batch_.classes, static_cast<Real>(sums_[t + k].max),
                       static_cast<Real>(share[k]), to);
      } else {
        std::memset(to, 0, static_cast<std::size_t>(batch_.classes) * sizeof(Real));
      }
      for (std::int64_t u = 0; u < used_; ++u) to[class_of_slot_[u]] = result[u * kBlock + k];
      if constexpr (!kNative)
        for (std::int64_t c = 0; c < batch_.classes; ++c) out_row[c] = narrow<T>(to[c]);
    }
  }

 private:
  static constexpr double kConfident = 1e-3;  // the largest class has all but this of a frame's probability
  static constexpr Real kLowest = -690;       // e^kLowest is near the end of a double's range

  // e^x in double's range, of an x <= 0 of Real's precision. Without kInRange, x may also be below kLowest (anything
  // tiny comes out), -infinity (0) or NaN.
  template <bool kInRange>
  static void exponential(Vector x, F64 (&values)[kWidth / kLanes]) {
    if constexpr (sizeof(Real) == 8) {
      values[0] = exp_of_nonpositive<double>(x);
    } else {
      const Power<float> power =
          split_exponential<float>(kInRange ? x : (x < kLowest ? broadcast<Vector>(kLowest) : x));
      const Vector mantissa = !kInRange ? (x == -kInfinity ? Vector{} : power.mantissa) : power.mantissa;
      for (int h = 0; h < 2; ++h) {
        const F64 m = widen_half(half_of<F32Half>(mantissa, h));
        const I64 exponent = widen_half(half_of<I32Half>(power.biased, h)) << 52;  // only its low bits survive
        values[h] = (F64)((I64)m + (kInRange ? exponent : (m == 0.0 ? I64{} : exponent)));
      }
    }
  }

  // The frames' sums without the largest class itself. Where a model is confident, the sum less 1 would be all
  // rounding.
  void rest_of_sums(const double* table, const F64 (&sums)[kBlock / kLanes], double (&rest)[kBlock]) const {
    I64 confident{};
    for (int k = 0; k < kBlock; k += kLanes) {
      store(rest + k, sums[k / kLanes] - 1.0);
      confident |= sums[k / kLanes] - 1.0 < kConfident;
    }
    if (!any_lane(confident)) return;
    for (int k = 0; k < kBlock; ++k) {
      if (rest[k] >= kConfident) continue;
      double sum = -1;
      rest[k] = 0;
      for (std::int64_t u = 0; u < used_; ++u) {
        const double value = named_[u] ? table[u * kBlock + k] : static_cast<double>(reals(table, u)[k]);
        (value == 1 ? sum : rest[k]) += value;
      }
      rest[k] += sum;
    }
  }

  // Where a model is confident, the largest class's softmax and occupancy cancel; minus the sum of the other classes'
  // gradients is the same without cancellation. Returns whether that holds for any frame of the block; the others get
  // NaN.
  bool gradient_of_largest(std::int64_t t, int frames, const double* table, const double* occupancy, double total,
                           double weight, double (&gradient)[kBlock]) const {
    bool confident = false;
    for (int k = 0; k < frames; ++k) confident |= sums_[t + k].rest < kConfident;
    if (!confident) return false;
    F64 others[kBlock / kLanes] = {};
    for (std::int64_t u = 0; u < used_; ++u) {
      if (!named_[u]) continue;
      for (int k = 0; k < kBlock; k += kLanes) {
        const std::int64_t at = u * kBlock + k;
        others[k / kLanes] += load<F64>(table + at) == 1.0 ? F64{} : load<F64>(occupancy + at);
      }
    }
    for (int k = 0; k < kBlock; ++k) gradient[k] = std::numeric_limits<double>::quiet_NaN();
    for (int k = 0; k < frames; ++k) {
      const double rest = sums_[t + k].rest;
      if (rest < kConfident) gradient[k] = weight * (others[k / kLanes][k % kLanes] / total - rest / (1 + rest));
    }
    return true;
  }

  // A class that the target does not name counts in the softmax alone: its row of a table holds Reals.
  static Real* reals(double* table, std::int64_t slot) { return reinterpret_cast<Real*>(table + slot * kBlock); }
  static const Real* reals(const double* table, std::int64_t slot) {
    return reinterpret_cast<const Real*>(table + slot * kBlock);
  }

  // Fills the table, adds up each frame's column. Returns whether some value is too small for a double, yet not 0.
  template <bool kInRange>
  bool exponentials(const Real (&scale)[kBlock], double* table, F64 (&sums)[kBlock / kLanes]) const {
    Integers extreme{};
    Vector others[kBlock / kWidth] = {};
    for (std::int64_t u = 0; u < used_; ++u) {
      if (!named_[u]) {
        if (!batch_.logits) continue;
        for (int k = 0; k < kBlock; k += kWidth) {
          const Vector e = exp_of_nonpositive<Real>(load<Vector>(raw_ + u * kBlock + k) - load<Vector>(scale + k));
          store(reals(table, u) + k, e);
          others[k / kWidth] += e;
        }
        continue;
      }
      for (int k = 0; k < kBlock; k += kWidth) {
        const Vector x = load<Vector>(raw_ + u * kBlock + k) - load<Vector>(scale + k);
        if constexpr (!kInRange) extreme |= (x < kLowest) & (x > -kInfinity);
        F64 values[kWidth / kLanes];
        exponential<kInRange>(x, values);
        for (int h = 0; h < kWidth / kLanes; ++h) {
          store(table + u * kBlock + k + h * kLanes, values[h]);
          sums[k / kLanes + h] += values[h];
        }
      }
    }
    for (int k = 0; k < kBlock; k += kWidth) {
      for (int h = 0; h < kWidth / kLanes; ++h) {
        if constexpr (sizeof(Real) == 8) {
          sums[k / kLanes] += others[k / kWidth];
        } else {
          sums[k / kLanes + h] += widen_half(half_of<F32Half>(others[k / kWidth], h));
        }
      }
    }
    return any_lane(extreme);
  }

  static void store_narrowed(Real* to, F64 value) {
    if constexpr (sizeof(Real) == 8) {
      store(to, value);
    } else {
      store(to, narrow_half(value));
    }
  }

  // An odd number of cache lines, so that the rows of a block do not fall on the same cache sets.
  std::int64_t row_pitch() const {
    constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(Real));
    return ((batch_.classes + kWidth) / line | 1) * line + line;
  }

  // Frame t as Reals side by side: where it stands if it is so already, else copied to `buffer`.
  const Real* contiguous_row(std::int64_t t, Real* buffer) const {
    const T* from = base_ + t * batch_.strides.frame;
    const std::int64_t stride = batch_.strides.clazz, classes = batch_.classes;
    if (stride == 1) {
      if constexpr (kNative) return from;
      for (std::int64_t c = 0; c < classes; ++c) buffer[c] = widen(from[c]);
    } else {
      for (std::int64_t c = 0; c < classes; ++c) buffer[c] = widen(from[c * stride]);
    }
    return buffer;
  }

  // raw_ = the named classes' values, [slot][frame]; scale = the frames' largest: of all classes for logits, of the
  // named ones for log-probabilities. Returns whether all values are numbers not far below their frame's scale.
  bool read_raw(std::int64_t t, int frames, Real (&scale)[kBlock]) {
    if (whole_rows_) {
      transpose_rows(t, frames);
    } else {
      gather(t, frames);
    }
    constexpr Real infinity = std::numeric_limits<Real>::infinity();
    Integers out_of_range{};
    for (int k = 0; k < kBlock; k += kWidth) {
      Vector high = broadcast<Vector>(-infinity), low = broadcast<Vector>(infinity);
      for (std::int64_t u = 0; u < used_; ++u) {
        if (!named_[u] && !batch_.logits) continue;
        const Vector x = load<Vector>(raw_ + u * kBlock + k);
        high = larger(x, high);
        low = named_[u] ? smaller(low, x) : low;  // keeps a NaN
      }
      if (batch_.logits && !whole_rows_)
        for (int j = 0; j < kWidth; ++j) high[j] = k + j < frames ? static_cast<Real>(sums_[t + k + j].max) : high[j];
      // A frame in which nothing is possible: emissions of 0, relative to anything.
      high = high == -infinity ? Vector{} : high;
      store(scale + k, high);
      out_of_range |= ~(low - high >= kLowest);
    }
    return !any_lane(out_of_range);
  }

  void gather(std::int64_t t, int frames) {
    for (int k = 0; k < kBlock; ++k) {
      const T* from = base_ + (k < frames ? t + k : t) * batch_.strides.frame;  // beyond the end: any number
      for (std::int64_t u = 0; u < used_; ++u)
        raw_[u * kBlock + k] = static_cast<Real>(widen(from[class_of_slot_[u] * batch_.strides.clazz]));
    }
  }

  void transpose_rows(std::int64_t t, int frames) {
    const Real* rows[kBlock];
    for (int k = 0; k < kBlock; ++k) rows[k] = contiguous_row(k < frames ? t + k : t, row_ + k * row_pitch());
    for (int group = 0; group < kBlock; group += kWidth) {
      for (std::int64_t c = 0; c < batch_.classes; c += kWidth) {
        const std::int64_t count = batch_.classes - c;
        Vector tile[kWidth];
        for (int j = 0; j < kWidth; ++j)
          tile[j] = count >= kWidth ? load<Vector>(rows[group + j] + c) : load_tail(rows[group + j] + c, count);
        transpose(tile);
        for (int j = 0; j < kWidth; ++j) store(raw_ + (c + j) * kBlock + group, tile[j]);
      }
    }
  }

  void write_whole_rows(int frames, const Real* table, T* out) const {
    for (int group = 0; group < frames; group += kWidth) {
      for (std::int64_t c = 0; c < batch_.classes; c += kWidth) {
        Vector tile[kWidth];
        for (int j = 0; j < kWidth; ++j) tile[j] = load<Vector>(table + (c + j) * kBlock + group);
        transpose(tile);
        const std::int64_t count = batch_.classes - c < kWidth ? batch_.classes - c : kWidth;
        for (int j = 0; j < kWidth && group + j < frames; ++j) {
          T* to = out + (group + j) * batch_.out_strides.frame + c;
          if (kNative && count == kWidth) {
            store(to, tile[j]);
          } else {
            for (int lane = 0; lane < count; ++lane) to[lane] = narrow<T>(tile[j][lane]);
          }
        }
      }
    }
  }

  const Batch& batch_;
  const T* base_;
  bool whole_rows_;
  std::int64_t slots_, used_ = 1;
  std::int32_t* slot_of_class_ = nullptr;
  std::int64_t* class_of_slot_;
  bool* named_;  // slots of classes that the target names, or the blank
  Real* raw_;
  double* mantissas_;
  std::int64_t* exponents_;
  FrameSum* sums_ = nullptr;
  Real* row_;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
