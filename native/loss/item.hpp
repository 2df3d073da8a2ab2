// One item of a batch: its loss, and its gradient or occupancy, in two sweeps over its frames.
//
// - Forward: block by block. The states at the start of every segment of blocks are saved (a checkpoint).
// - Backward: segment by segment from the last. Alpha is walked again from the checkpoint and kept; then beta is walked
//   backward, their product is the occupancy, and the gradient of each frame is written. Both leave out positions that
//   hold no probability (band.hpp).
//
// So memory grows with sqrt(frames) * labels, and the data of a segment stays in the cache. An item of one segment
// keeps its alpha from the forward sweep.
#pragma once

#include "base/arena.hpp"
#include "lattice/checkpoints.hpp"
#include "lattice/emissions.hpp"
#include "loss/band.hpp"
#include "loss/forward_band.hpp"
#include "loss/gradient.hpp"
#include "loss/states.hpp"
#include "loss/walks.hpp"
#include "simd/softmax.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class T>
class Item {
  using Real = typename ComputedIn<T>::Real;

 public:
  Item(const Batch& batch, std::int64_t n, Plan plan, Arena& arena)
      : batch_(batch),
        n_(n),
        frames_(batch.input_lengths[n]),
        target_(batch, n),
        labels_(target_.size),
        weight_(batch.mean_gradient ? 1.0 / static_cast<double>(batch.items * (labels_ > 0 ? labels_ : 1)) : 1.0),
        width_((labels_ + kLanes) / kLanes * kLanes),
        pitch_(width_ + kPad),  // the padding after a row is the padding before the next
        band_(batch.band_budget >= 0      ? batch.band_budget
              : labels_ < kShortestBanded ? 0
                                          : kBudget<Real>,
              frames_),
        source_(batch, n, arena),
        walks_(target_, width_, source_),
        sink_(batch, n, source_.few_classes(), arena),
        states_(batch, n) {
    if (pitch_ / 8 % 2 == 0) pitch_ += 8;  // an odd number of cache lines: rows fall on different cache sets
    kept_pitch_ = checkpoint_pitch_ = pitch_;
    segment_ = segment();
    narrow_first_ = plan == Plan::sure && band_.on() && !one_walk() && (!batch.logits || source_.few_classes()) &&
                    (batch.band_budget > 0 || ForwardBand::possible(frames_, labels_, source_.cost_of_reading()));
    if (goes_back() && band_.on() && !one_walk() && planned_bytes() > batch.most_planned &&
        segment_ >= kShare * kFramesPerBlock) {
      kept_pitch_ = pitch_ / kShare / 8 * 8 + 8;
      if (narrow_first_) checkpoint_pitch_ = kept_pitch_;
      segment_ = segment();
      // The first walk uses the memory of a segment for a block of all positions.
      if (segment_ < kShare * kFramesPerBlock) segment_ = kShare * kFramesPerBlock;
    }
    lay_out(arena);
  }

  // Returns false if the plan of memory was too small.
  bool run() {
    walks_.prepare_target();
    double nll = std::numeric_limits<double>::infinity();
    RangeFlags flags;
    if (target_.frames_needed() <= frames_) nll = forward(flags);
    if (too_small_) return false;
    batch_.nll[n_] = nll;
    if (!goes_back()) return true;
    if (nll - nll != 0) {  // infinite or NaN
      fill_frames(0, frames_, nll != nll ? nll : 0.0);
    } else {
      backward(flags);
    }
    if (batch_.lost != nullptr) batch_.lost[n_] = band_.lost() + forward_band_.lost();
    fill_frames(frames_, batch_.frames, 0.0);
    sink_.finish();
    return true;
  }

 private:
  // Where memory for all positions is much: the part of them that a segment's rows hold, and, for a model that seems
  // sure, checkpoints on average. Where a band is wider, its segments are walked in several pieces; and where the
  // checkpoints do not suffice, the item is walked again with memory for all.
  static constexpr std::int64_t kShare = 8;
  // A frame keeps the forward mantissas of blanks and labels, and the labels' emissions.
  static constexpr std::int64_t kFrameBytes = 2 * 8 + static_cast<std::int64_t>(sizeof(Real));
  static constexpr std::int64_t kCheckpointBytes = 4 * 8;

  // The frames of a segment.
  std::int64_t segment() const {
    // Of a segment's frames, the walk again visits half as many positions beside the band: it narrows by one a frame.
    const std::int64_t preferred = band_.on() ? labels_ / 5 : frames_;
    return segment_length(frames_, kFrameBytes * kept_pitch_, kCheckpointBytes * checkpoint_pitch_, preferred);
  }
  std::int64_t planned_bytes() const {
    return segment_ * kFrameBytes * kept_pitch_ + (frames_ / segment_ + 1) * kCheckpointBytes * checkpoint_pitch_;
  }

  // Whether more than the loss is asked for.
  bool goes_back() const { return batch_.output != Output::none || states_.wanted(); }

  // ---- memory -------------------------------------------------------------------------------------------------------

  void lay_out(Arena& arena) {
    const RowArena rows{arena, pitch_};
    const std::int64_t frames = goes_back() ? segment_ : kFramesPerBlock;
    walks_.take(rows, frames, goes_back() ? kept_pitch_ : pitch_, goes_back());
    const std::int64_t all_softmax =
        (frames_ + kFramesPerBlock - 1) / kFramesPerBlock * kFramesPerBlock * source_.softmax_pitch();
    const bool little = all_softmax * static_cast<std::int64_t>(sizeof(Real)) <= kCacheBytes / 4;
    keep_softmax_ = goes_back() && (segment_ >= frames_ || little);
    softmax_ = arena.take<Real>(keep_softmax_ ? all_softmax : frames * source_.softmax_pitch());
    if (narrow_first_) forward_band_ = {frames_, labels_, source_.cost_of_reading(), 1 - band_.log2_budget(), arena};
    if (!goes_back()) return;
    per_slot_ = arena.take<Real>(source_.slots().table_size());
    occupancy_.label = rows.take<Real>(kFramesPerBlock);
    occupancy_.blank_frames = states_.wanted() ? kFramesPerBlock : band_.on() ? 1 : 0;
    occupancy_.blank = rows.take<Real>(occupancy_.blank_frames);
    occupancy_.blank_sums = arena.take<double>(kFramesPerBlock * kLanes);
    if (!one_walk()) checkpoints_ = {frames_ / segment_ + 1, (frames_ / segment_ + 1) * checkpoint_pitch_, arena};
  }

  // The positions that both walks reach in frames [t, t + frames). Label i of the mirror is at position i + 1.
  Range reached(std::int64_t t, int frames) const {
    return range_of<kLanes>({0, frames_, labels_ - 1, labels_}, t, t + frames + 1);
  }
  // Of these, those that each walk visits.
  Range forward_range(std::int64_t t, int frames) const {
    return band_.of_forward(forward_band_.of_walk(reached(t, frames), t, frames), t);
  }
  Range mirror_range(std::int64_t t, int frames) const {
    return band_.of_mirror(forward_band_.of_walk(reached(t, frames), t, frames), t, frames);
  }

  // Returns the loss in nats: infinity if no path has any probability, NaN if an emission is NaN.
  double forward(RangeFlags& flags) {
    if (narrow_first_) walk_narrowly(flags);
    too_small_ = checkpoint_pitch_ < pitch_ && !forward_band_.on();
    if (too_small_) return 0;
    walks_.start_alpha();
    double log_scale = 0, normaliser = 1;
    for (std::int64_t t = 0; t < frames_; t += kFramesPerBlock) {
      const int frames = block_frames(t);
      if (checkpoints_.kept() && t % segment_ == 0) {
        const Row& row = walks_.alpha();
        const Range before = forward_range(t, frames);
        too_small_ = !checkpoints_.has_room(before);
        if (too_small_) return 0;
        checkpoints_.save(before, {row.blank, row.label, row.blank_exponent, row.label_exponent});
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
      const Range range = forward_range(t, frames);
      if (one_walk()) {
        advance_and_keep(flags, range, t, frames, t, source_.extreme());
      } else {
        walks_.advance_alpha(flags, range, t, frames, source_.extreme());
      }
      if (forward_band_.on() && t + frames < frames_) {
        forward_band_.narrow_to_certificate(walks_.alpha(), range, t / kFramesPerBlock, frames);
        walks_.empty_alpha_from(forward_band_.range().end);
      }
    }
    total_ = likelihood();
    if (total_.mantissa == 0) return std::numeric_limits<double>::infinity();
    return -(log_scale + static_cast<double>(total_.exponent) * 0x1.62e42fefa39efp-1 +
             std::log(total_.mantissa / normaliser));
  }

  // Walks the frames in a narrow beam, so that the walk that counts can leave out positions (forward_band.hpp).
  CTCKIT_COLD void walk_narrowly(RangeFlags& flags) {
    forward_band_.start_narrow();
    walks_.start_alpha();
    for (std::int64_t t = 0; t < frames_; t += kFramesPerBlock) {
      const int frames = block_frames(t);
      if (source_.read(t, frames, true, softmax_of(keep_softmax_ ? t : 0), false).nan) return forward_band_.give_up();
      forward_band_.note(t / kFramesPerBlock, frames, source_.table(), source_.slots().used());
      const Range range = forward_range(t, frames);
      walks_.advance_alpha(flags, range, t, frames, source_.extreme());
      if (t + frames == frames_) break;
      if (!forward_band_.narrow_to_beam(walks_.alpha(), range, frames)) return forward_band_.give_up();
      walks_.empty_alpha_from(forward_band_.range().end);
    }
    const Likelihood found = likelihood();
    forward_band_.certify(static_cast<double>(found.exponent) + std::log2(found.mantissa));
  }

  // What the last row of alpha holds: the sum over all paths.
  Likelihood likelihood() const {
    const Row& last = walks_.alpha();
    const Range range = forward_range((frames_ - 1) / kFramesPerBlock * kFramesPerBlock, kFramesPerBlock);
    const auto state = [range](std::int64_t i, const double* m, const std::int64_t* e) {
      return i >= range.begin && i < range.end && m[i] != 0 ? Likelihood{m[i], e[i]} : Likelihood{0, kNever};
    };
    const auto largest = [](const Likelihood& x) {
      return x.mantissa == 0 ? kNever : x.exponent + std::ilogb(x.mantissa);
    };
    const Likelihood blank = state(labels_, last.blank, last.blank_exponent);
    const Likelihood label = state(labels_ - 1, last.label, last.label_exponent);
    const std::int64_t exponent = largest(blank) > largest(label) ? largest(blank) : largest(label);
    if (exponent == kNever) return {};
    return {scaled(blank.mantissa, blank.exponent - exponent) + scaled(label.mantissa, label.exponent - exponent),
            exponent};
  }

  void advance_and_keep(RangeFlags& flags, Range range, std::int64_t t, int frames, std::int64_t row, bool extreme) {
    const Emissions<Real> emissions = walks_.expand_block(range, frames, row);
    KeptBlock kept = walks_.kept.block(row);
    walks_.keep_alpha(flags, range, t, frames, emissions, extreme, kept);
    walks_.kept.alpha_exact(row) = kept.exact;
    walks_.kept.extreme(row) = extreme;
  }

  void backward(RangeFlags& flags) {
    walks_.start_beta();
    if (frames_ > 0) band_.start(reached(frames_ - 1, 1));
    for (std::int64_t end = frames_; end > 0;) {
      const std::int64_t begin = one_walk() ? 0 : walk_again(flags, (end - 1) / segment_ * segment_, end);
      for (std::int64_t t = (end - 1) / kFramesPerBlock * kFramesPerBlock; t >= begin; t -= kFramesPerBlock) {
        const int frames = block_frames(t);
        const std::int64_t row = t - begin;
        KeptBlock alpha = walks_.kept.block(row);
        alpha.exact = walks_.kept.alpha_exact(row);
        const Range range = mirror_range(t, frames);
        walks_.advance_beta(flags, range, t, frames, walks_.kept.emissions(row), walks_.kept.extreme(row), alpha,
                            total_, band_.lost() + forward_band_.lost(), occupancy());
        write_block(t, frames, range, softmax_of(keep_softmax_ ? t : row));
        if (band_.on()) narrow_band(range);
      }
      end = begin;
    }
  }

  // Walks the frames of a segment, up to `end`, forward from its checkpoint, as far as the way back needs them. Keeps
  // the last ones, as many as there is room for; returns the first of these.
  std::int64_t walk_again(RangeFlags& flags, std::int64_t first, std::int64_t end) {
    const Range saved = checkpoints_.range(first / segment_);
    band_.walk_again(end);
    if (forward_band_.on()) forward_band_.start_again(saved, first);
    const Range needed = forward_range(first, static_cast<int>(end - first));
    if (band_.on()) walks_.kept.hold(needed);
    const std::int64_t room = walks_.kept.room();
    const std::int64_t begin =
        end - first <= room ? first : (end - room + kFramesPerBlock - 1) / kFramesPerBlock * kFramesPerBlock;
    walks_.empty_alpha({needed.begin - kPad, needed.end + kPad});
    const Row& row = walks_.alpha();
    checkpoints_.restore(first / segment_, common(needed, saved),
                         {row.blank, row.label, row.blank_exponent, row.label_exponent});
    for (std::int64_t t = first; t < end; t += kFramesPerBlock) {
      const int frames = block_frames(t);
      const std::int64_t kept = t < begin ? 0 : t - begin;
      source_.read(t, frames, false, softmax_of(keep_softmax_ ? t : kept), keep_softmax_);
      if (t < begin) {
        walks_.advance_alpha(flags, forward_range(t, frames), t, frames, source_.extreme());
      } else {
        advance_and_keep(flags, forward_range(t, frames), t, frames, kept, source_.extreme());
      }
    }
    return begin;
  }

  // Narrows the band after a block, and empties the mirror's row below it, as far as the next blocks read it.
  void narrow_band(Range walked) {
    const Occupancy<Real> first = occupancy();
    first.label[walked.begin - 1] = 0;  // the mirror has not come to this label
    band_.narrow(walked, occupancy_scale(), [&](std::int64_t i) {
      return sum_of_lanes(load_widened(first.blank + i) + load_widened(first.label + i - 1));
    });
    const std::int64_t end = band_.range().begin, begin = end - kFramesPerBlock - 2 * kLanes;
    walks_.empty_beta({begin > -kPad ? begin : -kPad, end});
  }

  // Whether the forward sweep keeps alpha for the backward sweep.
  bool one_walk() const { return goes_back() && segment_ >= frames_; }

  Real* softmax_of(std::int64_t row) const { return softmax_ + row * source_.softmax_pitch(); }

  int block_frames(std::int64_t t) const {
    return static_cast<int>(frames_ - t < kFramesPerBlock ? frames_ - t : kFramesPerBlock);
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

  void write_block(std::int64_t t, int frames, Range range, const Real* softmax) {
    const Occupancy<Real> block = occupancy();
    const std::int64_t pitch = walks_.kept.layout().pitch;
    std::memset(per_slot_, 0, sizeof(Real) * static_cast<std::size_t>((source_.slots().empty() + 1) * kFramesPerBlock));
    sum_slots(range, frames, block, pitch, walks_.slots(), per_slot_);
    if (states_.wanted()) states_.write(t, frames, range, block, pitch, occupancy_scale());
    if (batch_.output != Output::none) sink_.write(source_, t, frames, per_slot_, occupancy_scale(), weight_, softmax);
  }

  // The rows of a block's occupancy, laid out as those that are kept.
  Occupancy<Real> occupancy() const {
    const std::int64_t at = walks_.kept.layout().row(0);
    return {occupancy_.label + at, occupancy_.blank + at, occupancy_.blank_frames, occupancy_.blank_sums};
  }

  double occupancy_scale() const { return total_.template of_products<Real>(); }

  const Batch& batch_;
  const std::int64_t n_, frames_;
  const Target target_;
  const std::int64_t labels_;
  const double weight_;
  const std::int64_t width_;
  std::int64_t pitch_, kept_pitch_ = 0, checkpoint_pitch_ = 0, segment_ = kFramesPerBlock;
  Band band_;
  ForwardBand forward_band_;
  bool narrow_first_ = false;  // whether a narrow walk comes before the forward walk
  bool too_small_ = false;     // the plan of memory
  EmissionSource<T> source_;
  Walks<T> walks_;
  GradientSink<T> sink_;
  StateSink<T> states_;

  Likelihood total_;
  Real* softmax_ = nullptr;  // [frame][class], of a segment; of the item if it is small
  bool keep_softmax_ = false;
  Occupancy<Real> occupancy_ = {};
  Real* per_slot_ = nullptr;
  Checkpoints<4> checkpoints_;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
