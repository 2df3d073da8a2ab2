// One item of a batch: its loss, and its gradient or occupancy, in two sweeps over its frames.
//
//   forward   blocks of kBlock frames; the state is saved at the start of every segment of blocks (a checkpoint)
//   backward  segment by segment from the last: alpha is walked again from the checkpoint and kept, beta comes to meet
//             it, their product is the occupancy, and the frame's gradient is written
//
// so that memory grows with sqrt(frames) * labels, and what a segment works on stays in the cache. An item that is one
// segment keeps its alpha from the forward sweep.
#pragma once

#include "arena.hpp"
#include "dense.hpp"
#include "emissions.hpp"
#include "occupancy.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr std::int64_t kCacheBytes = std::int64_t{1} << 20;  // what a core's second-level cache holds

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
        pitch_(width_ + 2 * kPad),
        source_(batch, n, arena) {
    if (pitch_ / 8 % 2 == 0) pitch_ += 8;  // an odd number of cache lines: rows do not fall on the same cache sets
    choose_segment();
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
  }

 private:
  bool wants_states() const { return batch_.state_occupancy != nullptr || batch_.path_occupancy != nullptr; }

  // ---- memory -------------------------------------------------------------------------------------------------------

  // One segment if all that is kept of the item stays in the second-level cache. Else segments of half that size, or
  // longer, so that checkpoints take at most 8 MiB, or, where that cannot be, the length that makes the sum of kept
  // rows and checkpoints smallest.
  void choose_segment() {
    const std::int64_t state_bytes = 4 * 8 * pitch_, kept_bytes = 3 * 8 * pitch_ * kBlock;
    const std::int64_t all = frames_ > 0 ? (frames_ + kBlock - 1) / kBlock : 1;
    std::int64_t blocks = kCacheBytes / 2 / kept_bytes;
    blocks = all * kept_bytes <= kCacheBytes ? all : blocks < 1 ? 1 : blocks;
    const auto checkpoints = [&](std::int64_t b) { return (all / b + 1) * state_bytes; };
    while (blocks < all && checkpoints(blocks) > (std::int64_t{1} << 23) &&
           checkpoints(blocks) + blocks * kept_bytes > checkpoints(blocks + 1) + (blocks + 1) * kept_bytes)
      ++blocks;
    segment_ = (blocks < all ? blocks : all) * kBlock;
  }

  Row take_row(Arena& arena) {
    const auto values = [&] { return arena.take<double>(pitch_) + kPad; };
    const auto exponents = [&] { return arena.take<std::int64_t>(pitch_) + kPad; };
    return {values(), values(), exponents(), exponents()};
  }

  Ratios take_ratios(Arena& arena, std::int64_t blocks) {
    const auto values = [&] { return arena.take<double>(blocks * pitch_) + kPad; };
    return {values(), values(), values()};
  }

  KeptBlock take_kept(Arena& arena, std::int64_t rows) {
    const auto values = [&] { return arena.take<double>(rows * pitch_) + kPad; };
    const auto exponents = [&] { return arena.take<std::int64_t>(rows * pitch_) + kPad; };
    return {values(), values(), exponents(), exponents(), pitch_, false, {}};
  }

  void lay_out(Arena& arena) {
    skip_ = arena.take<std::int64_t>(pitch_) + kPad;
    slots_ = arena.take<std::int32_t>(pitch_) + kPad;
    for (Row& row : alpha_) row = take_row(arena);
    exact_label_ = arena.take<double>(kBlock * pitch_) + kPad;
    exact_label_exponent_ = arena.take<std::int64_t>(kBlock * pitch_) + kPad;
    const bool both_ways = batch_.output != Output::none || wants_states();
    const std::int64_t rows = both_ways ? segment_ : kBlock;
    expanded_ = arena.take<double>(rows * pitch_) + kPad;
    const std::int64_t all_tables = (frames_ + kBlock - 1) / kBlock * source_.table_size();
    keep_tables_ = both_ways && (segment_ >= frames_ || all_tables * 8 <= kCacheBytes);
    tables_ = arena.take<double>(keep_tables_ ? all_tables : rows / kBlock * source_.table_size());
    if (!both_ways) {
      kept_alpha_.ratios = take_ratios(arena, 1);
      return;
    }
    extreme_ = arena.take<bool>((keep_tables_ ? frames_ + kBlock - 1 : segment_) / kBlock);
    for (Row& row : beta_) row = take_row(arena);
    kept_alpha_ = take_kept(arena, segment_);
    kept_alpha_.ratios = take_ratios(arena, segment_ / kBlock);
    alpha_exact_ = arena.take<bool>(segment_ / kBlock);
    kept_beta_ = take_kept(arena, kBlock);
    per_slot_ = arena.take<double>(source_.table_size());
    if (wants_states()) {
      states_blank_ = arena.take<double>(kBlock * pitch_) + kPad;
      states_label_ = arena.take<double>(kBlock * pitch_) + kPad;
    }
    if (!one_walk()) checkpoints_ = arena.take<std::byte>((frames_ / segment_ + 1) * checkpoint_bytes());
  }

  // ---- the lattice --------------------------------------------------------------------------------------------------

  void prepare_target() {
    source_.choose_slots(target_, labels_, slots_);
    for (std::int64_t i = labels_; i < width_; ++i) slots_[i] = source_.empty_slot();
    repeats_ = 0;
    for (std::int64_t i = -kPad; i < pitch_ - kPad; ++i) {
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
  template <class Bits>
  void expand(Range range, int frames, const Bits* table, Bits* rows) const {
    const std::int64_t begin = range.begin >= kLanes ? range.begin - kLanes : 0;
    for (std::int64_t i = begin; i < range.end; i += kLanes) {
      for (int group = 0; group < frames; group += kLanes) {
        F64 tile[kLanes];
        for (int j = 0; j < kLanes; ++j) tile[j] = load<F64>(table + slots_[i + j] * kBlock + group);
        transpose(tile);
        for (int j = 0; j < kLanes; ++j) store(rows + (group + j) * pitch_ + i, tile[j]);
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

  Emissions emissions_of(const double* label_rows, const double* table) const {
    return {label_rows, pitch_, table + source_.blank_slot() * kBlock, exact_label_exponent_, no_exponents_};
  }

  // Walks the frames of one block forward. With kKeep, all that the way back needs is kept in `kept`.
  template <bool kKeep>
  void advance_alpha(RangeFlags& flags, std::int64_t t, int frames, const Emissions& emissions, bool extreme,
                     KeptBlock& kept) {
    const Range range = range_of(t, frames);
    if (!extreme) {
      flags.clear();
      const Fit fit = normalise(topology(), range, alpha_[0], alpha_[1], kept.ratios);
      if (fit != Fit::not_at_all) {
        walk_block<+1, kKeep>(range, frames, alpha_[1], kept.ratios, emissions, kept.blank, kept.label, pitch_);
        if (!flags.out_of_range() && (fit == Fit::well || states_last(topology(), range, alpha_[1]))) {
          kept.exact = false;
          swap(alpha_);
          for (std::int64_t i = range.begin; kKeep && i < range.end; i += kLanes) {
            store(kept.blank_exponent + i, load<I64>(alpha_[0].blank_exponent + i));
            store(kept.label_exponent + i, load<I64>(alpha_[0].label_exponent + i));
          }
          return;
        }
      }
    }
    walk_exactly<+1>(t, frames, range, emissions, extreme, alpha_, kKeep ? &kept : nullptr);
  }

  // Walks the mirror over the frames of one block, whose forward rows are in `alpha`.
  void advance_beta(RangeFlags& flags, std::int64_t t, int frames, const Emissions& emissions, bool extreme,
                    const KeptBlock& alpha) {
    const Range range = range_of(t, frames);
    if (!alpha.exact) {
      flags.clear();
      rescale(range, total_exponent_, alpha.blank_exponent, alpha.label_exponent, beta_[0], beta_[1]);
      // Going the other way, what entered a blank from a label enters the label from the blank.
      const Ratios ratios{alpha.ratios.label_from_blank, alpha.ratios.blank_from_label, alpha.ratios.label_from_label};
      walk_block<-1, true>(range, frames, beta_[1], ratios, emissions, kept_beta_.blank, kept_beta_.label, pitch_);
      if (!flags.too_large()) {
        kept_beta_.exact = false;
        return swap(beta_);
      }
    }
    walk_exactly<-1>(t, frames, range, emissions, extreme, beta_, &kept_beta_);
  }

  template <int Direction>
  void walk_exactly(std::int64_t t, int frames, Range range, Emissions emissions, bool extreme, Rows& rows,
                    KeptBlock* kept) {
    if (extreme) {
      const ExactTable exact = source_.read_exactly(t, frames);
      const std::int64_t blank = source_.blank_slot() * kBlock;
      expand(range, frames, exact.mantissa, exact_label_);
      expand(range, frames, exact.exponent, exact_label_exponent_);
      emissions = {exact_label_, pitch_, exact.mantissa + blank, exact_label_exponent_, exact.exponent + blank};
    } else {  // the very same emissions, or alpha and beta would not belong together
      std::memset(exact_label_exponent_ - kPad, 0, sizeof(std::int64_t) * static_cast<std::size_t>(kBlock * pitch_));
    }
    if (kept != nullptr) kept->exact = true;
    for (int step = 0; step < frames; ++step) {
      const int k = Direction > 0 ? step : frames - 1 - step;
      const Row row = kept != nullptr ? kept->at(k) : Row{};
      exact_step<Direction>(topology(), range, k, rows[0], rows[1], emissions, kept != nullptr ? &row : nullptr);
      swap(rows);
    }
    mark_void<Direction>(topology(), rows[0]);
  }

  // Returns the loss in nats, infinite where no path has any probability, NaN where a NaN was met.
  double forward(RangeFlags& flags) {
    for (const Row& row : alpha_) start<+1>(topology(), row);
    double log_scale = 0;  // what the emissions were divided by, less the log-normalisers
    for (std::int64_t t = 0; t < frames_; t += kBlock) {
      const int frames = block_frames(t);
      if (checkpoints_ != nullptr && t % segment_ == 0) save(t / segment_);
      double* const table = keep_tables_ ? table_of(t / kBlock) : tables_;
      const BlockScale block = source_.read(t, frames, true, table);
      if (block.nan) return std::numeric_limits<double>::quiet_NaN();
      log_scale += block.log_scale;
      if (keep_tables_) extreme_[t / kBlock] = block.extreme;
      const std::int64_t row = one_walk() ? t : 0;
      double* const label_rows = expanded_ + row * pitch_;
      expand(range_of(t, frames), frames, table, label_rows);
      const Emissions emissions = emissions_of(label_rows, table);
      KeptBlock kept = kept_block(row);
      if (one_walk()) {
        advance_alpha<true>(flags, t, frames, emissions, block.extreme, kept);
        alpha_exact_[row / kBlock] = kept.exact;
      } else {
        advance_alpha<false>(flags, t, frames, emissions, block.extreme, kept);
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
    return -(log_scale + static_cast<double>(total_exponent_) * 0x1.62e42fefa39efp-1 + std::log(total_));
  }

  void backward(RangeFlags& flags) {
    for (const Row& row : beta_) start<-1>(topology(), row);
    for (std::int64_t first = (frames_ - 1) / segment_ * segment_; frames_ > 0 && first >= 0; first -= segment_) {
      const std::int64_t end = first + segment_ < frames_ ? first + segment_ : frames_;
      if (!one_walk()) restore(first / segment_);
      for (std::int64_t t = one_walk() ? end : first; t < end; t += kBlock) {
        const int frames = block_frames(t);
        const std::int64_t row = t - first, block = (keep_tables_ ? t : row) / kBlock;
        double* const table = table_of(block);
        if (!keep_tables_) extreme_[block] = source_.read(t, frames, false, table).extreme;
        expand(range_of(t, frames), frames, table, expanded_ + row * pitch_);
        KeptBlock kept = kept_block(row);
        advance_alpha<true>(flags, t, frames, emissions_of(expanded_ + row * pitch_, table), extreme_[block], kept);
        alpha_exact_[row / kBlock] = kept.exact;
      }
      for (std::int64_t t = (end - 1) / kBlock * kBlock; t >= first; t -= kBlock) {
        const int frames = block_frames(t);
        const std::int64_t row = t - first, block = (keep_tables_ ? t : row) / kBlock;
        const double* const table = table_of(block);
        KeptBlock kept = kept_block(row);
        kept.exact = alpha_exact_[row / kBlock];
        advance_beta(flags, t, frames, emissions_of(expanded_ + row * pitch_, table), extreme_[block], kept);
        write_block(t, frames, table, kept);
      }
    }
  }

  // Whether the forward sweep keeps what the backward sweep needs.
  bool one_walk() const { return kept_alpha_.pitch != 0 && segment_ >= frames_; }

  double* table_of(std::int64_t block) const { return tables_ + block * source_.table_size(); }

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

  std::int64_t checkpoint_bytes() const { return 4 * 8 * width_; }

  void save(std::int64_t segment) {
    std::byte* to = checkpoints_ + segment * checkpoint_bytes();
    const std::size_t bytes = 8 * static_cast<std::size_t>(width_);
    std::memcpy(to, alpha_[0].blank, bytes);
    std::memcpy(to + bytes, alpha_[0].label, bytes);
    std::memcpy(to + 2 * bytes, alpha_[0].blank_exponent, bytes);
    std::memcpy(to + 3 * bytes, alpha_[0].label_exponent, bytes);
  }

  void restore(std::int64_t segment) {
    for (const Row& row : alpha_) start<+1>(topology(), row);
    const std::byte* from = checkpoints_ + segment * checkpoint_bytes();
    const std::size_t bytes = 8 * static_cast<std::size_t>(width_);
    std::memcpy(alpha_[0].blank, from, bytes);
    std::memcpy(alpha_[0].label, from + bytes, bytes);
    std::memcpy(alpha_[0].blank_exponent, from + 2 * bytes, bytes);
    std::memcpy(alpha_[0].label_exponent, from + 3 * bytes, bytes);
  }

  // ---- output -------------------------------------------------------------------------------------------------------

  T* out_row(std::int64_t t) const {
    return static_cast<T*>(batch_.out) + t * batch_.out_strides.frame + n_ * batch_.out_strides.item;
  }
  T* state_row(std::int64_t t) const {
    return static_cast<T*>(batch_.state_occupancy) + (t * batch_.items + n_) * batch_.state_width;
  }

  T& path_cell(std::int64_t t) const { return static_cast<T*>(batch_.path_occupancy)[n_ * batch_.frames + t]; }

  void fill_frames(std::int64_t from, std::int64_t to, double value) const {
    const T filler = narrow<T>(value);
    for (std::int64_t t = from; t < to; ++t) {
      if (batch_.output != Output::none)
        for (T *c = out_row(t), *end = c + batch_.classes; c < end; ++c) *c = filler;
      if (batch_.state_occupancy != nullptr)
        for (T *s = state_row(t), *end = s + batch_.state_width; s < end; ++s) *s = filler;
      if (batch_.path_occupancy != nullptr) path_cell(t) = filler;
    }
  }

  void write_block(std::int64_t t, int frames, const double* table, const KeptBlock& alpha) {
    const Range range = range_of(t, frames);
    for (int k = 0; k < kBlock; ++k) {  // beyond what can be reached
      kept_beta_.label[k * pitch_ + range.end] = 0;
      kept_beta_.label_exponent[k * pitch_ + range.end] = kNever;
    }
    for (int k = frames; k < kBlock; ++k) {  // a last, short block: nothing passes through the frames that it lacks
      const std::size_t bytes = sizeof(double) * static_cast<std::size_t>(range.end - range.begin);
      double* const rows[] = {alpha.blank, alpha.label, kept_beta_.blank, kept_beta_.label};
      for (double* row : rows) std::memset(row + k * pitch_ + range.begin, 0, bytes);
    }
    double blank_sums[kBlock] = {};
    std::memset(per_slot_, 0, sizeof(double) * static_cast<std::size_t>((source_.empty_slot() + 1) * kBlock));
    const Occupancy to{per_slot_, blank_sums, states_blank_, states_label_};
    accumulate_occupancy(range, frames, alpha, kept_beta_, total_exponent_ - kProduct, slots_, to);
    std::memcpy(per_slot_ + source_.blank_slot() * kBlock, blank_sums, sizeof blank_sums);
    if (batch_.state_occupancy != nullptr)
      for (int k = 0; k < frames; ++k) write_states(t + k, k, range);
    if (batch_.path_occupancy != nullptr)
      for (int k = 0; k < frames; ++k)
        path_cell(t + k) = narrow<T>(state_share(batch_.path_states[n_ * batch_.frames + t + k], k, range));
    if (batch_.output != Output::none)
      source_.write(t, frames, table, per_slot_, occupancy_scale(), weight_, out_row(t));
  }

  // What the products of forward and mirror sum to in every frame.
  double occupancy_scale() const { return std::ldexp(total_, static_cast<int>(kProduct)); }

  void write_states(std::int64_t t, int k, Range range) const {
    T* to = state_row(t);
    for (std::int64_t s = 0; s < batch_.state_width; ++s) to[s] = narrow<T>(state_share(s, k, range));
  }

  // The occupancy of a state in the k-th frame of the block; 0 for what is none of the item's states.
  double state_share(std::int64_t s, int k, Range range) const {
    const std::int64_t i = s / 2;
    const double* row = (s % 2 == 0 ? states_blank_ : states_label_) + k * pitch_;
    const bool inside = s >= 0 && s <= 2 * labels_ && i >= range.begin && i < range.end;
    return inside ? row[i] / occupancy_scale() : 0.0;
  }

  const Batch& batch_;
  const std::int64_t n_, frames_, labels_;
  const std::int64_t* target_;
  const double weight_;
  const std::int64_t width_;
  std::int64_t pitch_, segment_ = kBlock, repeats_ = 0;
  EmissionSource<T> source_;

  double total_ = 0;  // the likelihood is total_ * 2^total_exponent_, relative to the frames' scales
  std::int64_t total_exponent_ = 0;

  std::int64_t* skip_ = nullptr;
  std::int32_t* slots_ = nullptr;  // position -> row of the tables
  Rows alpha_ = {}, beta_ = {};
  double* expanded_ = nullptr;
  double* exact_label_ = nullptr;
  std::int64_t* exact_label_exponent_ = nullptr;
  const std::int64_t no_exponents_[kBlock] = {};
  double* tables_ = nullptr;  // emissions, [block][slot][frame], of a segment, or, where that is little, of the item
  bool keep_tables_ = false;
  bool* extreme_ = nullptr;
  bool* alpha_exact_ = nullptr;
  KeptBlock kept_alpha_ = {}, kept_beta_ = {};
  double *per_slot_ = nullptr, *states_blank_ = nullptr, *states_label_ = nullptr;
  std::byte* checkpoints_ = nullptr;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
