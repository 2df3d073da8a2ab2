// One item of a batch: its loss, and its gradient or occupancy, in two sweeps over its frames.
//
// - Forward: block by block. The states at the start of every segment of blocks are saved (a checkpoint).
// - Backward: segment by segment from the last. Alpha is walked again from the checkpoint and kept; then beta is walked
//   backward, their product is the occupancy, and the gradient of each frame is written.
//
// So memory grows with sqrt(frames) * labels, and the data of a segment stays in the cache. An item of one segment
// keeps its alpha from the forward sweep.
#pragma once

#include "base/arena.hpp"
#include "lattice/checkpoints.hpp"
#include "lattice/emissions.hpp"
#include "loss/gradient.hpp"
#include "loss/occupancy.hpp"
#include "loss/states.hpp"
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
        target_(batch, n),
        labels_(target_.size),
        weight_(batch.mean_gradient ? 1.0 / static_cast<double>(batch.items * (labels_ > 0 ? labels_ : 1)) : 1.0),
        width_((labels_ + kLanes) / kLanes * kLanes),
        pitch_(width_ + kPad),  // the padding after a row is the padding before the next
        source_(batch, n, arena),
        sink_(batch, n, source_.few_classes(), arena),
        states_(batch, n) {
    if (pitch_ / 8 % 2 == 0) pitch_ += 8;  // an odd number of cache lines: rows fall on different cache sets
    // A frame keeps the forward mantissas of blanks and labels, and the labels' emissions.
    segment_ = segment_length(frames_, (2 * 8 + static_cast<std::int64_t>(sizeof(Real))) * pitch_, 4 * 8 * width_);
    lay_out(arena);
  }

  void run() {
    prepare_target();
    double nll = std::numeric_limits<double>::infinity();
    RangeFlags flags;
    if (target_.frames_needed() <= frames_) nll = forward(flags);
    batch_.nll[n_] = nll;
    if (!goes_back()) return;
    if (nll - nll != 0) {  // infinite or NaN
      fill_frames(0, frames_, nll != nll ? nll : 0.0);
    } else {
      backward(flags);
    }
    fill_frames(frames_, batch_.frames, 0.0);
    sink_.finish();
  }

 private:
  // Whether more than the loss is asked for.
  bool goes_back() const { return batch_.output != Output::none || states_.wanted(); }

  // ---- memory -------------------------------------------------------------------------------------------------------

  KeptBlock take_kept(const RowArena& rows, std::int64_t frames) {
    const Row states = rows.take_states(frames);
    const Ratios ratios = rows.take_ratios(frames / kFramesPerBlock);
    return {states.blank, states.label, states.blank_exponent, states.label_exponent, pitch_, false, ratios};
  }

  void lay_out(Arena& arena) {
    const RowArena rows{arena, pitch_};
    skip_ = rows.take<std::int64_t>();
    slots_ = rows.take<std::int32_t>();
    for (Row& row : alpha_) row = rows.take_states();
    exact_label_ = rows.take<double>(kFramesPerBlock);
    exact_label_exponent_ = rows.take<std::int64_t>(kFramesPerBlock);
    const std::int64_t frames = goes_back() ? segment_ : kFramesPerBlock;
    expanded_ = rows.take<Real>(frames);
    blanks_ = arena.take<double>(frames);
    const std::int64_t all_softmax =
        (frames_ + kFramesPerBlock - 1) / kFramesPerBlock * kFramesPerBlock * source_.softmax_pitch();
    const bool little = all_softmax * static_cast<std::int64_t>(sizeof(Real)) <= kCacheBytes / 4;
    keep_softmax_ = goes_back() && (segment_ >= frames_ || little);
    softmax_ = arena.take<Real>(keep_softmax_ ? all_softmax : frames * source_.softmax_pitch());
    if (!goes_back()) {
      kept_alpha_.ratios = rows.take_ratios(1);
      return;
    }
    extreme_ = arena.take<bool>(segment_ / kFramesPerBlock);
    for (Row& row : beta_) row = rows.take_states();
    kept_alpha_ = take_kept(rows, segment_);
    alpha_exact_ = arena.take<bool>(segment_ / kFramesPerBlock);
    exact_beta_ = rows.take_states();
    per_slot_ = arena.take<Real>(source_.slots().table_size());
    occupancy_.label = rows.take<Real>(kFramesPerBlock);
    if (states_.wanted()) occupancy_.blank = rows.take<Real>(kFramesPerBlock);
    occupancy_.blank_sums = arena.take<double>(kFramesPerBlock * kLanes);
    if (!one_walk()) checkpoints_ = Checkpoints<4>(frames_ / segment_ + 1, width_, arena);
  }

  // ---- the lattice --------------------------------------------------------------------------------------------------

  void prepare_target() {
    source_.choose_slots(target_, slots_);
    const auto empty = static_cast<std::int32_t>(source_.slots().empty());
    for (std::int64_t i = labels_; i < width_ + kPad; ++i) slots_[i] = empty;
    for (std::int64_t i = -kPad; i < width_ + kPad; ++i) skip_[i] = target_.may_skip(i) ? -1 : 0;
  }

  Topology topology() const { return {labels_, width_, skip_}; }

  // The positions of both walks over frames [t, t + frames). Label i of the mirror is at position i + 1.
  Range positions(std::int64_t t, int frames) const {
    return range_of<kLanes>({0, frames_, labels_ - 1, labels_}, t, t + frames + 1);
  }

  // ---- walking ------------------------------------------------------------------------------------------------------

  // The labels' rows of a block, [frame][position], from a table [slot][frame].
  template <class Number>
  void expand_labels(Range range, int frames, const Number* table, Number* rows) const {
    const std::int64_t begin =
        range.begin >= kLanes ? range.begin - kLanes : 0;  // the mirror reads one position before
    expand(table, slots_, {begin, range.end}, frames, rows, pitch_);
    for (int k = 0; k < frames; ++k) rows[k * pitch_ - 1] = 0;  // the mirror's label of position 0
  }

  // A walk reads the first row, writes the second, and swaps them.
  using Rows = Row[2];
  static void swap(Rows& rows) {
    const Row first = rows[0];
    rows[0] = rows[1];
    rows[1] = first;
  }

  Emissions<Real> emissions_of(std::int64_t row) const { return {expanded_ + row * pitch_, pitch_, blanks_ + row}; }

  // Brings the emissions of the last block read to its rows of the segment, from `row` on.
  Emissions<Real> expand_block(std::int64_t t, int frames, std::int64_t row) {
    expand_labels(positions(t, frames), frames, source_.table(), expanded_ + row * pitch_);
    for (int k = 0; k < kFramesPerBlock; k += kLanes)
      store(blanks_ + row + k, load_widened(source_.table() + k));  // of slot 0
    return emissions_of(row);
  }

  // Walks the frames of one block forward. With kKeep, fills `kept` for the backward sweep.
  template <bool kKeep>
  void advance_alpha(RangeFlags& flags, std::int64_t t, int frames, const Emissions<Real>& emissions, bool extreme,
                     KeptBlock& kept) {
    const Range range = positions(t, frames);
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
          if (kKeep) kept.label_exponent[range.begin - 1] = kNever;  // the mirror reads it: a label never reached
          for (int k = 0; kKeep && k < frames; ++k) kept.label[k * pitch_ + range.begin - 1] = 0;
          return;
        }
      }
    }
    walk_exactly<+1>(t, frames, range, emissions, extreme, alpha_, kKeep ? &kept : nullptr);
  }

  // Walks the mirror over the frames of one block, whose forward rows are in `alpha`, and computes the block's
  // occupancy.
  void advance_beta(RangeFlags& flags, std::int64_t t, int frames, const Emissions<Real>& emissions, bool extreme,
                    const KeptBlock& alpha) {
    const Range range = positions(t, frames);
    for (int k = 0; k < kFramesPerBlock; ++k) store(occupancy_.blank_sums + k * kLanes, F64{});
    if (!alpha.exact) {
      flags.clear();
      rescale(range, total_exponent_, kProduct<Real>, alpha.blank_exponent, alpha.label_exponent, beta_[0], beta_[1]);
      // In the mirror, the arc from a label to a blank goes from the blank to the label.
      const Ratios ratios{alpha.ratios.label_from_blank, alpha.ratios.blank_from_label, alpha.ratios.label_from_label};
      walk_block<-1>(range, frames, beta_[1], ratios, emissions,
                     Multiply<Real>{alpha.blank, alpha.label, pitch_, occupancy_});
      if (!flags.too_large() && holds_total(range, occupancy_, occupancy_scale())) return swap(beta_);
    }
    walk_exactly<-1>(t, frames, range, emissions, extreme, beta_, &alpha);
  }

  // Walks one block frame by frame: forward, keeping the rows in `kept` unless that is null; backward, multiplying by
  // the rows in `kept`.
  template <int Direction, class Kept>
  CTCKIT_COLD void walk_exactly(std::int64_t t, int frames, Range range, const Emissions<Real>& block, bool extreme,
                                Rows& rows, Kept* kept) {
    Emissions<double> emissions{exact_label_, pitch_, block.blank, exact_label_exponent_, no_exponents_};
    if (extreme) {
      const ExactTable exact = source_.read_exactly(t, frames);
      expand_labels(range, frames, exact.mantissa, exact_label_);
      expand_labels(range, frames, exact.exponent, exact_label_exponent_);
      emissions.blank = exact.mantissa;
      emissions.blank_exponent = exact.exponent;
    } else {  // alpha and beta need the same emissions to the bit
      for (std::int64_t at = -kPad; at < kFramesPerBlock * pitch_; ++at) {
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

  // Returns the loss in nats: infinity if no path has any probability, NaN if an emission is NaN.
  double forward(RangeFlags& flags) {
    for (const Row& row : alpha_) start<+1>(topology(), row);
    double log_scale = 0, normaliser = 1;
    for (std::int64_t t = 0; t < frames_; t += kFramesPerBlock) {
      const int frames = block_frames(t);
      if (checkpoints_.kept() && t % segment_ == 0) {
        const Row& row = alpha_[0];
        checkpoints_.save(t / segment_, 0, width_, {row.blank, row.label, row.blank_exponent, row.label_exponent});
      }
      if (batch_.logits && !source_.few_classes())
        source_.sum_frames(t, frames, sink_.early_row(),
                           [&](std::int64_t at) { sink_.write_early(source_, at, weight_); });
      const T* const soon = batch_.output != Output::none && one_walk() ? out_row(t) : nullptr;
      const BlockScale block =
          source_.read(t, frames, true, softmax_of(keep_softmax_ ? t : 0), false, soon, batch_.out_strides.frame);
      if (block.nan) return std::numeric_limits<double>::quiet_NaN();
      log_scale += block.log_scale;
      normaliser *= block.normaliser;
      if (normaliser > 0x1p500) {  // that of one block is less
        log_scale -= std::log(normaliser);
        normaliser = 1;
      }
      const bool extreme = source_.extreme();
      const std::int64_t row = one_walk() ? t : 0;
      const Emissions<Real> emissions = expand_block(t, frames, row);
      KeptBlock kept = kept_block(row);
      if (one_walk()) {
        advance_alpha<true>(flags, t, frames, emissions, extreme, kept);
        alpha_exact_[row / kFramesPerBlock] = kept.exact;
        extreme_[row / kFramesPerBlock] = extreme;
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
        const Row& row = alpha_[0];
        checkpoints_.restore(first / segment_, 0, width_,
                             {row.blank, row.label, row.blank_exponent, row.label_exponent});
      }
      for (std::int64_t t = one_walk() ? end : first; t < end; t += kFramesPerBlock) {
        const int frames = block_frames(t);
        const std::int64_t row = t - first;
        source_.read(t, frames, false, softmax_of(keep_softmax_ ? t : row), keep_softmax_);
        const Emissions<Real> emissions = expand_block(t, frames, row);
        KeptBlock kept = kept_block(row);
        advance_alpha<true>(flags, t, frames, emissions, source_.extreme(), kept);
        alpha_exact_[row / kFramesPerBlock] = kept.exact;
        extreme_[row / kFramesPerBlock] = source_.extreme();
      }
      for (std::int64_t t = (end - 1) / kFramesPerBlock * kFramesPerBlock; t >= first; t -= kFramesPerBlock) {
        const int frames = block_frames(t);
        const std::int64_t row = t - first;
        KeptBlock kept = kept_block(row);
        kept.exact = alpha_exact_[row / kFramesPerBlock];
        advance_beta(flags, t, frames, emissions_of(row), extreme_[row / kFramesPerBlock], kept);
        write_block(t, frames, softmax_of(keep_softmax_ ? t : row));
      }
    }
  }

  // Whether the forward sweep keeps alpha for the backward sweep.
  bool one_walk() const { return kept_alpha_.pitch != 0 && segment_ >= frames_; }

  Real* softmax_of(std::int64_t row) const { return softmax_ + row * source_.softmax_pitch(); }

  int block_frames(std::int64_t t) const {
    return static_cast<int>(frames_ - t < kFramesPerBlock ? frames_ - t : kFramesPerBlock);
  }

  // The kept rows of the block whose first frame is in this row of the segment.
  KeptBlock kept_block(std::int64_t row) const {
    const Row at = kept_alpha_.at(row);
    const std::int64_t ratios = row / kFramesPerBlock * pitch_;
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
  CTCKIT_COLD void fill_frames(std::int64_t from, std::int64_t to, double value) const {
    const T filler = narrow<T>(value);
    for (std::int64_t t = from; t < to; ++t) {
      if (batch_.output != Output::none)
        for (T *c = out_row(t), *end = c + batch_.classes; c < end; ++c) *c = filler;
      states_.fill(t, filler);
    }
  }

  void write_block(std::int64_t t, int frames, const Real* softmax) {
    const Range range = positions(t, frames);
    std::memset(per_slot_, 0, sizeof(Real) * static_cast<std::size_t>((source_.slots().empty() + 1) * kFramesPerBlock));
    sum_slots(range, frames, occupancy_, pitch_, slots_, per_slot_);
    if (states_.wanted()) states_.write(t, frames, range, occupancy_, pitch_, occupancy_scale());
    if (batch_.output != Output::none) sink_.write(source_, t, frames, per_slot_, occupancy_scale(), weight_, softmax);
  }

  // The sum over the states of the products of forward and mirror, in every frame.
  double occupancy_scale() const { return total_ * kProductUnit<Real>; }

  const Batch& batch_;
  const std::int64_t n_, frames_;
  const Target target_;
  const std::int64_t labels_;
  const double weight_;
  const std::int64_t width_;
  std::int64_t pitch_, segment_ = kFramesPerBlock;
  EmissionSource<T> source_;
  GradientSink<T> sink_;
  StateSink<T> states_;

  double total_ = 0;  // the likelihood is total_ * 2^total_exponent_, relative to the frames' scales
  std::int64_t total_exponent_ = 0;

  std::int64_t* skip_ = nullptr;
  std::int32_t* slots_ = nullptr;  // position -> row of the tables
  Rows alpha_ = {}, beta_ = {};
  Real* expanded_ = nullptr;  // emissions of the labels, [frame][position], of a segment
  double* blanks_ = nullptr;  // and of the blank
  double* exact_label_ = nullptr;
  std::int64_t* exact_label_exponent_ = nullptr;
  const std::int64_t no_exponents_[kFramesPerBlock] = {};
  Real* softmax_ = nullptr;  // [frame][class], of a segment; of the item if it is small
  bool keep_softmax_ = false;
  bool* extreme_ = nullptr;
  bool* alpha_exact_ = nullptr;
  KeptBlock kept_alpha_ = {};
  Row exact_beta_ = {};  // of a frame, in exact steps
  Occupancy<Real> occupancy_ = {};
  Real* per_slot_ = nullptr;
  Checkpoints<4> checkpoints_;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
