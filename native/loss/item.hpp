// One item of a batch: its loss, and its gradient or occupancy, in two sweeps over its frames.
//
//   forward   blocks of kBlock frames; the state is saved at the start of every segment of blocks (a checkpoint)
//   backward  segment by segment from the last: alpha is walked again from the checkpoint and kept, beta comes to meet
//             it, their product is the occupancy, and the frame's gradient is written
//
// so that memory grows with sqrt(frames) * labels, and what a segment works on stays in the cache. An item that is one
// segment keeps its alpha from the forward sweep.
#pragma once

#include "base/arena.hpp"
#include "lattice/checkpoints.hpp"
#include "lattice/emissions.hpp"
#include "loss/gradient.hpp"
#include "loss/occupancy.hpp"
#include "simd/softmax.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class T>
class Item {
  using Real = typename ComputedIn<T>::Real;

 public:
  Item(const Batch& batch, std::int64_t n, Arena& arena)
      : batch_(batch),
        n_(n),
        frames_(batch.input_lengths[n]),
        labels_(batch.target_lengths[n]),
        target_(batch.labels + batch.offsets[n]),
        weight_(batch.mean_weights ? 1.0 / static_cast<double>(batch.items * (labels_ > 0 ? labels_ : 1)) : 1.0),
        width_((labels_ + kLanes) / kLanes * kLanes),
        pitch_(width_ + kPad),  // what lies beyond the end of a row lies before the start of the next
        source_(batch, n, arena),
        sink_(batch, n, source_.few_classes(), arena) {
    if (pitch_ / 8 % 2 == 0) pitch_ += 8;  // an odd number of cache lines: rows do not fall on the same cache sets
    // Kept of a frame: forward mantissas of blanks and labels, the labels' emissions.
    segment_ = segment_length(frames_, (2 * 8 + static_cast<std::int64_t>(sizeof(Real))) * pitch_, 4 * 8 * width_);
    lay_out(arena);
  }

  void run() {
    prepare_target();
    double nll = std::numeric_limits<double>::infinity();
    RangeFlags flags;
    if (labels_ + repeats_ <= frames_) nll = forward(flags);
    batch_.nll[n_] = nll;
    if (batch_.output == Output::none && !wants_states()) return;
    if (nll - nll != 0) {  // infinite or NaN
      fill_frames(0, frames_, nll != nll ? nll : 0.0);
    } else {
      backward(flags);
    }
    fill_frames(frames_, batch_.frames, 0.0);
    sink_.finish();
  }

 private:
  bool wants_states() const { return batch_.state_occupancy != nullptr || batch_.path_occupancy != nullptr; }

  // ---- memory -------------------------------------------------------------------------------------------------------

  template <class Number>
  Number* take_rows(Arena& arena, std::int64_t rows = 1) {
    Number* const first = arena.take<Number>(kPad + rows * pitch_);
    return first == nullptr ? nullptr : first + kPad;
  }

  Row take_states(Arena& arena, std::int64_t rows = 1) {
    const auto values = [&] { return take_rows<double>(arena, rows); };
    const auto exponents = [&] { return take_rows<std::int64_t>(arena, rows); };
    return {values(), values(), exponents(), exponents()};
  }

  Ratios take_ratios(Arena& arena, std::int64_t blocks) {
    const auto values = [&] { return take_rows<double>(arena, blocks); };
    return {values(), values(), values()};
  }

  KeptBlock take_kept(Arena& arena, std::int64_t rows) {
    const Row states = take_states(arena, rows);
    return {states.blank,
            states.label,
            states.blank_exponent,
            states.label_exponent,
            pitch_,
            false,
            take_ratios(arena, rows / kBlock)};
  }

  void lay_out(Arena& arena) {
    skip_ = take_rows<std::int64_t>(arena);
    slots_ = take_rows<std::int32_t>(arena);
    for (Row& row : alpha_) row = take_states(arena);
    exact_label_ = take_rows<double>(arena, kBlock);
    exact_label_exponent_ = take_rows<std::int64_t>(arena, kBlock);
    const bool both_ways = batch_.output != Output::none || wants_states();
    const std::int64_t rows = both_ways ? segment_ : kBlock;
    expanded_ = take_rows<Real>(arena, rows);
    blanks_ = arena.take<double>(rows);
    const std::int64_t all_softmax = (frames_ + kBlock - 1) / kBlock * kBlock * source_.softmax_pitch();
    const bool little = all_softmax * static_cast<std::int64_t>(sizeof(Real)) <= kCacheBytes / 4;
    keep_softmax_ = both_ways && (segment_ >= frames_ || little);
    softmax_ = arena.take<Real>(keep_softmax_ ? all_softmax : rows * source_.softmax_pitch());
    if (!both_ways) {
      kept_alpha_.ratios = take_ratios(arena, 1);
      return;
    }
    extreme_ = arena.take<bool>(segment_ / kBlock);
    for (Row& row : beta_) row = take_states(arena);
    kept_alpha_ = take_kept(arena, segment_);
    alpha_exact_ = arena.take<bool>(segment_ / kBlock);
    exact_beta_ = take_states(arena);
    per_slot_ = arena.take<Real>(source_.slots().table_size());
    occupancy_.label = take_rows<Real>(arena, kBlock);
    if (wants_states()) occupancy_.blank = take_rows<Real>(arena, kBlock);
    occupancy_.blank_sums = arena.take<double>(kBlock * kLanes);
    if (!one_walk()) checkpoints_ = Checkpoints(frames_ / segment_ + 1, width_, arena);
  }

  // ---- the lattice --------------------------------------------------------------------------------------------------

  void prepare_target() {
    source_.choose_slots(target_, labels_, slots_);
    const auto empty = static_cast<std::int32_t>(source_.slots().empty());
    for (std::int64_t i = labels_; i < width_ + kPad; ++i) slots_[i] = empty;
    repeats_ = 0;
    for (std::int64_t i = -kPad; i < width_ + kPad; ++i) {
      const bool follows = i > 0 && i < labels_;
      skip_[i] = follows && target_[i] != target_[i - 1] ? -1 : 0;
      repeats_ += follows && target_[i] == target_[i - 1];
    }
  }

  Topology topology() const { return {labels_, width_, skip_}; }

  // The positions that frames [t, t + frames), and the frame that a walk over them comes from, can use: reached from
  // the start by at most one label a frame, and still able to finish. Label i of the mirror is at position i + 1.
  Range range_of(std::int64_t t, int frames) const {
    const std::int64_t low = labels_ - frames_ + t - 1, high = t + frames + 1;
    const std::int64_t begin = (low > 0 ? low : 0) / kLanes * kLanes;
    const std::int64_t end = (high < labels_ ? high : labels_) / kLanes * kLanes + kLanes;
    return {begin, end};
  }

  // ---- walking ------------------------------------------------------------------------------------------------------

  // Emission rows of a block, [frame][position], from the table [slot][frame]; their exponents likewise, as bits.
  template <class Number>
  void expand(Range range, int frames, const Number* table, Number* rows) const {
    using Vector = std::conditional_t<sizeof(Number) == 4, F32, F64>;
    constexpr int width = sizeof(Vector) / sizeof(Number);
    const std::int64_t begin = range.begin >= kLanes ? range.begin - kLanes : 0;
    for (std::int64_t i = begin; i < range.end; i += width) {
      for (int group = 0; group < frames; group += width) {
        Vector tile[width];
        for (int j = 0; j < width; ++j) tile[j] = load<Vector>(table + slots_[i + j] * kBlock + group);
        transpose(tile);
        for (int j = 0; j < width; ++j) store(rows + (group + j) * pitch_ + i, tile[j]);
      }
    }
    for (int k = 0; k < frames; ++k) rows[k * pitch_ - 1] = 0;  // where the mirror looks for the label of position 0
  }

  // The two rows that a walk goes between: it reads the first and leaves its result there.
  using Rows = Row[2];
  static void swap(Rows& rows) {
    const Row first = rows[0];
    rows[0] = rows[1];
    rows[1] = first;
  }

  Emissions<Real> emissions_of(std::int64_t row) const { return {expanded_ + row * pitch_, pitch_, blanks_ + row}; }

  // The emissions of the block last read, whose first frame is in this row of the segment.
  Emissions<Real> expand_block(std::int64_t t, int frames, std::int64_t row) {
    expand(range_of(t, frames), frames, source_.table(), expanded_ + row * pitch_);
    for (int k = 0; k < kBlock; k += kLanes) store(blanks_ + row + k, load_widened(source_.table() + k));  // of slot 0
    return emissions_of(row);
  }

  // Walks the frames of one block forward. With kKeep, all that the way back needs is kept in `kept`.
  template <bool kKeep>
  void advance_alpha(RangeFlags& flags, std::int64_t t, int frames, const Emissions<Real>& emissions, bool extreme,
                     KeptBlock& kept) {
    const Range range = range_of(t, frames);
    if (!extreme) {
      flags.clear();
      const Fit fit = normalise(topology(), range, alpha_[0], alpha_[1], kept.ratios);
      if (fit != Fit::not_at_all) {
        if constexpr (kKeep) {
          walk_block<+1>(range, frames, alpha_[1], kept.ratios, emissions, Keep{kept.blank, kept.label, pitch_});
        } else {
          walk_block<+1>(range, frames, alpha_[1], kept.ratios, emissions, Forget{});
        }
        if (!flags.out_of_range() && (fit == Fit::well || states_last(topology(), range, alpha_[1]))) {
          kept.exact = false;
          swap(alpha_);
          for (std::int64_t i = range.begin; kKeep && i < range.end; i += kLanes) {
            store(kept.blank_exponent + i, load<I64>(alpha_[0].blank_exponent + i));
            store(kept.label_exponent + i, load<I64>(alpha_[0].label_exponent + i));
          }
          if (kKeep) kept.label_exponent[range.begin - 1] = kNever;  // where the mirror looks for a label never reached
          for (int k = 0; kKeep && k < frames; ++k) kept.label[k * pitch_ + range.begin - 1] = 0;
          return;
        }
      }
    }
    walk_exactly<+1>(t, frames, range, emissions, extreme, alpha_, kKeep ? &kept : nullptr);
  }

  // Walks the mirror over the frames of one block, whose forward rows are in `alpha`, and leaves the block's occupancy.
  void advance_beta(RangeFlags& flags, std::int64_t t, int frames, const Emissions<Real>& emissions, bool extreme,
                    const KeptBlock& alpha) {
    const Range range = range_of(t, frames);
    for (int k = 0; k < kBlock; ++k) store(occupancy_.blank_sums + k * kLanes, F64{});
    if (!alpha.exact) {
      flags.clear();
      rescale(range, total_exponent_, kProduct<Real>, alpha.blank_exponent, alpha.label_exponent, beta_[0], beta_[1]);
      // Going the other way, what entered a blank from a label enters the label from the blank.
      const Ratios ratios{alpha.ratios.label_from_blank, alpha.ratios.blank_from_label, alpha.ratios.label_from_label};
      walk_block<-1>(range, frames, beta_[1], ratios, emissions,
                     Multiply<Real>{alpha.blank, alpha.label, pitch_, occupancy_});
      if (!flags.too_large() && holds_total(range, occupancy_, occupancy_scale())) return swap(beta_);
    }
    walk_exactly<-1>(t, frames, range, emissions, extreme, beta_, &alpha);
  }

  // Walks one block frame by frame: forward, keeping the rows in `kept` unless that is null, or backward, multiplying
  // with those that are kept there.
  template <int Direction, class Kept>
  CTCKIT_RARELY void walk_exactly(std::int64_t t, int frames, Range range, const Emissions<Real>& block, bool extreme,
                                  Rows& rows, Kept* kept) {
    Emissions<double> emissions{exact_label_, pitch_, block.blank, exact_label_exponent_, no_exponents_};
    if (extreme) {
      const ExactTable exact = source_.read_exactly(t, frames);
      expand(range, frames, exact.mantissa, exact_label_);
      expand(range, frames, exact.exponent, exact_label_exponent_);
      emissions.blank = exact.mantissa;
      emissions.blank_exponent = exact.exponent;
    } else {  // the very same emissions, or alpha and beta would not belong together
      for (std::int64_t at = -kPad; at < kBlock * pitch_; ++at) {
        exact_label_[at] = static_cast<double>(block.label[at]);
        exact_label_exponent_[at] = 0;
      }
    }
    if constexpr (Direction > 0) {
      if (kept != nullptr) kept->exact = true;
    }
    for (int step = 0; step < frames; ++step) {
      const int k = Direction > 0 ? step : frames - 1 - step;
      const Row row = Direction < 0 ? exact_beta_ : kept != nullptr ? kept->at(k) : Row{};
      exact_step<Direction>(topology(), range, k, rows[0], rows[1], emissions, kept != nullptr ? &row : nullptr);
      if constexpr (Direction < 0) multiply_exactly(range, k, *kept, row, total_exponent_ - kProduct<Real>, occupancy_);
      swap(rows);
    }
    mark_void<Direction>(topology(), rows[0]);
  }

  // Returns the loss in nats, infinite where no path has any probability, NaN where a NaN was met.
  double forward(RangeFlags& flags) {
    for (const Row& row : alpha_) start<+1>(topology(), row);
    double log_scale = 0, normaliser = 1;
    for (std::int64_t t = 0; t < frames_; t += kBlock) {
      const int frames = block_frames(t);
      if (checkpoints_.kept() && t % segment_ == 0) checkpoints_.save(t / segment_, alpha_[0]);
      if (batch_.logits && !source_.few_classes())
        source_.sum_frames(t, frames, sink_.early_row(),
                           [&](std::int64_t at) { sink_.write_early(source_, at, weight_); });
      const T* const soon = batch_.output != Output::none && one_walk() ? out_row(t) : nullptr;
      const BlockScale block =
          source_.read(t, frames, true, softmax_of(keep_softmax_ ? t : 0), false, soon, batch_.out_strides.frame);
      if (block.nan) return std::numeric_limits<double>::quiet_NaN();
      log_scale += block.log_scale;
      normaliser *= block.normaliser;
      if (normaliser > 0x1p500) {  // a block's is less
        log_scale -= std::log(normaliser);
        normaliser = 1;
      }
      const bool extreme = source_.extreme();
      const std::int64_t row = one_walk() ? t : 0;
      const Emissions<Real> emissions = expand_block(t, frames, row);
      KeptBlock kept = kept_block(row);
      if (one_walk()) {
        advance_alpha<true>(flags, t, frames, emissions, extreme, kept);
        alpha_exact_[row / kBlock] = kept.exact;
        extreme_[row / kBlock] = extreme;
      } else {
        advance_alpha<false>(flags, t, frames, emissions, extreme, kept);
      }
    }
    const Row& last = alpha_[0];
    const double blank = last.blank[labels_], label = labels_ > 0 ? last.label[labels_ - 1] : 0.0;
    const std::int64_t blank_e = last.blank_exponent[labels_];
    const std::int64_t label_e = labels_ > 0 ? last.label_exponent[labels_ - 1] : 0;
    if (blank == 0 && label == 0) return std::numeric_limits<double>::infinity();
    total_exponent_ = label == 0 || (blank != 0 && blank_e + std::ilogb(blank) > label_e + std::ilogb(label))
                          ? blank_e + std::ilogb(blank)
                          : label_e + std::ilogb(label);
    total_ = scaled(blank, blank_e - total_exponent_) + scaled(label, label_e - total_exponent_);
    return -(log_scale + static_cast<double>(total_exponent_) * 0x1.62e42fefa39efp-1 + std::log(total_ / normaliser));
  }

  void backward(RangeFlags& flags) {
    for (const Row& row : beta_) start<-1>(topology(), row);
    for (std::int64_t first = (frames_ - 1) / segment_ * segment_; frames_ > 0 && first >= 0; first -= segment_) {
      const std::int64_t end = first + segment_ < frames_ ? first + segment_ : frames_;
      if (!one_walk()) {
        for (const Row& row : alpha_) start<+1>(topology(), row);
        checkpoints_.restore(first / segment_, alpha_[0]);
      }
      for (std::int64_t t = one_walk() ? end : first; t < end; t += kBlock) {
        const int frames = block_frames(t);
        const std::int64_t row = t - first;
        source_.read(t, frames, false, softmax_of(keep_softmax_ ? t : row), keep_softmax_);
        const Emissions<Real> emissions = expand_block(t, frames, row);
        KeptBlock kept = kept_block(row);
        advance_alpha<true>(flags, t, frames, emissions, source_.extreme(), kept);
        alpha_exact_[row / kBlock] = kept.exact;
        extreme_[row / kBlock] = source_.extreme();
      }
      for (std::int64_t t = (end - 1) / kBlock * kBlock; t >= first; t -= kBlock) {
        const int frames = block_frames(t);
        const std::int64_t row = t - first;
        KeptBlock kept = kept_block(row);
        kept.exact = alpha_exact_[row / kBlock];
        advance_beta(flags, t, frames, emissions_of(row), extreme_[row / kBlock], kept);
        write_block(t, frames, softmax_of(keep_softmax_ ? t : row));
      }
    }
  }

  // Whether the forward sweep keeps what the backward sweep needs.
  bool one_walk() const { return kept_alpha_.pitch != 0 && segment_ >= frames_; }

  Real* softmax_of(std::int64_t row) const { return softmax_ + row * source_.softmax_pitch(); }

  int block_frames(std::int64_t t) const { return static_cast<int>(frames_ - t < kBlock ? frames_ - t : kBlock); }

  // What is kept of the block whose first frame is in this row of the segment.
  KeptBlock kept_block(std::int64_t row) const {
    const Row at = kept_alpha_.at(row);
    const std::int64_t ratios = row / kBlock * pitch_;
    const Ratios& all = kept_alpha_.ratios;
    return {at.blank,
            at.label,
            at.blank_exponent,
            at.label_exponent,
            pitch_,
            false,
            {all.blank_from_label + ratios, all.label_from_blank + ratios, all.label_from_label + ratios}};
  }

  static double scaled(double m, std::int64_t exponent) {
    return exponent < -2000 ? 0.0 : std::ldexp(m, static_cast<int>(exponent));
  }

  // ---- output -------------------------------------------------------------------------------------------------------

  T* out_row(std::int64_t t) const {
    return static_cast<T*>(batch_.out) + t * batch_.out_strides.frame + n_ * batch_.out_strides.item;
  }
  T* state_row(std::int64_t t) const {
    return static_cast<T*>(batch_.state_occupancy) + (t * batch_.items + n_) * batch_.state_width;
  }

  T& path_cell(std::int64_t t) const { return static_cast<T*>(batch_.path_occupancy)[n_ * batch_.frames + t]; }

  CTCKIT_RARELY void fill_frames(std::int64_t from, std::int64_t to, double value) const {
    const T filler = narrow<T>(value);
    for (std::int64_t t = from; t < to; ++t) {
      if (batch_.output != Output::none)
        for (T *c = out_row(t), *end = c + batch_.classes; c < end; ++c) *c = filler;
      if (batch_.state_occupancy != nullptr)
        for (T *s = state_row(t), *end = s + batch_.state_width; s < end; ++s) *s = filler;
      if (batch_.path_occupancy != nullptr) path_cell(t) = filler;
    }
  }

  void write_block(std::int64_t t, int frames, const Real* softmax) {
    const Range range = range_of(t, frames);
    std::memset(per_slot_, 0, sizeof(Real) * static_cast<std::size_t>((source_.slots().empty() + 1) * kBlock));
    sum_slots(range, frames, occupancy_, pitch_, slots_, per_slot_);
    if (batch_.state_occupancy != nullptr)
      for (int k = 0; k < frames; ++k) write_states(t + k, k, range);
    if (batch_.path_occupancy != nullptr)
      for (int k = 0; k < frames; ++k)
        path_cell(t + k) = narrow<T>(state_share(batch_.path_states[n_ * batch_.frames + t + k], k, range));
    if (batch_.output != Output::none) sink_.write(source_, t, frames, per_slot_, occupancy_scale(), weight_, softmax);
  }

  // What the products of forward and mirror sum to in every frame.
  double occupancy_scale() const { return total_ * kProductUnit<Real>; }

  CTCKIT_RARELY void write_states(std::int64_t t, int k, Range range) const {
    T* to = state_row(t);
    for (std::int64_t s = 0; s < batch_.state_width; ++s) to[s] = narrow<T>(state_share(s, k, range));
  }

  // The occupancy of a state in the k-th frame of the block; 0 for what is none of the item's states.
  CTCKIT_RARELY double state_share(std::int64_t s, int k, Range range) const {
    const std::int64_t i = s / 2;
    const Real* row = (s % 2 == 0 ? occupancy_.blank : occupancy_.label) + k * pitch_;
    const bool inside = s >= 0 && s <= 2 * labels_ && i >= range.begin && i < range.end;
    return inside ? static_cast<double>(row[i]) / occupancy_scale() : 0.0;
  }

  const Batch& batch_;
  const std::int64_t n_, frames_, labels_;
  const std::int64_t* target_;
  const double weight_;
  const std::int64_t width_;
  std::int64_t pitch_, segment_ = kBlock, repeats_ = 0;
  EmissionSource<T> source_;
  GradientSink<T> sink_;

  double total_ = 0;  // the likelihood is total_ * 2^total_exponent_, relative to the frames' scales
  std::int64_t total_exponent_ = 0;

  std::int64_t* skip_ = nullptr;
  std::int32_t* slots_ = nullptr;  // position -> row of the tables
  Rows alpha_ = {}, beta_ = {};
  Real* expanded_ = nullptr;  // emissions of the labels, [frame][position], of a segment
  double* blanks_ = nullptr;  // and of the blank
  double* exact_label_ = nullptr;
  std::int64_t* exact_label_exponent_ = nullptr;
  const std::int64_t no_exponents_[kBlock] = {};
  Real* softmax_ = nullptr;  // [frame][class], of a segment, or, where that is little, of the item
  bool keep_softmax_ = false;
  bool* extreme_ = nullptr;
  bool* alpha_exact_ = nullptr;
  KeptBlock kept_alpha_ = {};
  Row exact_beta_ = {};  // of a frame walked in an exact step
  Occupancy<Real> occupancy_ = {};
  Real* per_slot_ = nullptr;
  Checkpoints checkpoints_;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
