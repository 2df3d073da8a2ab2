// The best path of one item of a batch, without a table of backpointers.
//
// Forward, all frames are walked, and the states are saved at the start of each segment of them (checkpoints). Back,
// from the last segment to the first, each is walked again from its checkpoint with all values kept, and the path is
// traced through these by comparing what each state could have come from.
//
// The position at the end of a segment of K frames is known by then, and a path moves by at most one position a frame:
// of all positions only the last K before that one are walked again, a triangle. So the second walk costs little where
// targets are long. A segment too long to keep is cut into shorter ones in the same way, with checkpoints as wide as
// the triangle. So memory is a few checkpoints of 16 bytes per label, whatever the number of frames.
//
// Where a target is long and the model sure, a narrow walk finds a path first; then all walks leave out the positions
// that cannot reach its score (score_band.hpp). The result is the best path, whether they do or not.
//
// Ties, read from the end of the path: the last label comes before the blank after it; then the same state before the
// one before it, and that before a skip.
#pragma once

#include "alignment/beam.hpp"
#include "alignment/score_band.hpp"
#include "lattice/checkpoints.hpp"
#include "lattice/emission_table.hpp"
#include "lattice/target.hpp"
#include "lattice/viterbi.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr std::int64_t kFewestKept = 32, kMostKept = 512;           // frames of a segment whose values are kept
constexpr std::int64_t kCachedCheckpoints = std::int64_t{1} << 19;  // bytes; if checkpoints take more, keep more frames
constexpr std::int64_t kFewestCheckpoints = 8;
constexpr int kMaxLevels = 16;

template <class T>
class BestPath {
  using Table = EmissionTable<T>;
  using Real = typename Table::Real;

 public:
  BestPath(const Batch& batch, std::int64_t n, Plan, Arena& arena)
      : batch_(batch),
        n_(n),
        frames_(batch.input_lengths[n]),
        target_(batch, n),
        width_((target_.size / kStep + 2) * kStep),
        table_(batch, n, width_, arena) {
    choose_levels();
    skip_ = arena.take<double>(width_);
    row_ = take_row(width_, arena);
    const bool pruned = Beam(batch.path.pruning, frames_, target_.size, 0).possible();
    band_ = {frames_, pruned, arena};
    std::int64_t frames = frames_;
    for (int l = 0; l < levels_; frames = level_[l++].longest)
      level_[l].checkpoints = {checkpoints_of(frames, kept_frames_), level_[l].positions, arena};
    kept_pitch_ = (kept_frames_ < target_.size ? kept_frames_ : target_.size) / kStep * kStep + 4 * kStep;
    kept_ = take_row((kept_frames_ + 1) * kept_pitch_, arena);
  }

  bool run() {
    const double best_score = target_.frames_needed() <= frames_ ? find() : kImpossible;
    batch_.nll[n_] = -best_score;
    if (best_score - best_score != 0) fill(0, frames_, best_score);  // NaN, or no path
    fill(frames_, batch_.frames, 0);
    return true;
  }

 private:
  // Of nested segments, those of one size.
  struct Level {
    std::int64_t longest, positions;  // frames of a segment, if none is pruned; of all checkpoints together
    std::int64_t length;              // frames of a segment
    Checkpoints<2> checkpoints;
  };

  // ---- memory -------------------------------------------------------------------------------------------------------

  static ScoreRow take_row(std::int64_t count, Arena& arena) {
    double* blank = arena.take<double>(count);
    return {blank, arena.take<double>(count)};
  }

  void choose_levels() {
    const auto pitch_for = [&](std::int64_t frames) {
      return frames + 2 * kStep < width_ ? frames + 2 * kStep : width_;
    };
    std::int64_t frames = frames_;
    kept_frames_ = kFewestKept;
    while (kept_frames_ < kMostKept && frames / kept_frames_ * width_ * 16 > kCachedCheckpoints) kept_frames_ *= 2;
    do {
      const std::int64_t pitch = pitch_for(frames), affordable = batch_.path.checkpoint_bytes / (16 * pitch);
      const std::int64_t most = affordable > kFewestCheckpoints ? affordable : kFewestCheckpoints;
      std::int64_t length = kept_frames_;
      while (checkpoints_of(frames, length) > most) length *= 2;
      level_[levels_++] = {length, checkpoints_of(frames, length) * pitch, length, {}};
      frames = length;
    } while (frames > kept_frames_ && levels_ < kMaxLevels);
  }

  static std::int64_t checkpoints_of(std::int64_t frames, std::int64_t length) {
    return frames > length ? (frames + length - 1) / length : 1;
  }

  // ---- forward ------------------------------------------------------------------------------------------------------

  static Range positions(const Segment& segment, std::int64_t t, std::int64_t frames) {
    return range_of<kStep>(segment, t, t + frames);
  }

  template <bool Keep>
  void walk_block(const Range& range, int frames, std::int64_t base, std::int64_t kept_frame) {
    double edge[kFramesPerBlock];
    for (double& value : edge) value = kImpossible;  // from below the range the goal cannot be reached
    const std::int64_t at = Keep ? kept_at(kept_frame) - base : 0;
    // Without a band every position beside the range is out of the path's reach.
    for (int k = 0; Keep && band_.drops() && k < frames; ++k) close(at + k * kept_pitch_, range);
    const auto walk = [&]<int Vectors>(std::int64_t i) {
      const ScoreRow kept = Keep ? ScoreRow{kept_.blank + at + i, kept_.label + at + i} : ScoreRow{};
      walk_group<Vectors, Keep>(frames, {row_.blank + i, row_.label + i}, skip_ + i,
                                table_.template rows_from<Vectors>(i), table_.blanks(), edge, kept, kept_pitch_);
    };
    std::int64_t i = range.begin;
    for (; i + kVectorsPerGroup * kLanes <= range.end; i += kVectorsPerGroup * kLanes)
      walk.template operator()<kVectorsPerGroup>(i);
    for (; i < range.end; i += kStep) walk.template operator()<2>(i);
  }

  // Walks frames [t, end) of a segment, block by block. Returns false where a value is NaN.
  template <bool Keep>
  bool walk(const Segment& segment, std::int64_t t, std::int64_t end, bool again) {
    const std::int64_t base = positions(segment, segment.begin, 0).begin;
    for (int frames; t < end; t += frames) {
      frames = end - t < kFramesPerBlock ? static_cast<int>(end - t) : kFramesPerBlock;
      const Range range = band_.within(positions(segment, t, frames), frames);
      if (!table_.read(t, frames, range.end - range.begin, again)) return false;
      walk_block<Keep>(range, frames, base, t - segment.begin + 1);
      if (band_.drops()) band_.drop(row_, range, band_.limit(t + frames));
    }
    return true;
  }

  // Walks a segment and saves a checkpoint at the start of each segment in it.
  bool walk_saving(Level& level, const Segment& segment, bool again) {
    level.length = band_.drops() ? kept_frames_ : level.longest;  // as long as the band is narrow, there is room
    level.checkpoints.clear();
    for (std::int64_t t = segment.begin, end; t < segment.end; t = end) {
      const Range range = band_.within(positions(segment, t, 0), 0);
      const auto begins = [&] { return (t - segment.begin) % level.length == 0; };
      for (; begins() && !level.checkpoints.has_room(range); level.length *= 2) level.checkpoints.thin();
      if (begins()) level.checkpoints.save(range, {row_.blank, row_.label});
      end = t + level.length - (t - segment.begin) % level.length;
      end = end < segment.end ? end : segment.end;
      if (!walk<false>(segment, t, end, again)) return false;
    }
    return true;
  }

  // Takes up a walk again at the start of `inner`, its k-th segment.
  void restore(const Level& level, std::int64_t k, const Segment& inner) {
    const Range needed = positions(inner, inner.begin, 0), saved = level.checkpoints.range(k);
    const Range range = common(needed, saved);
    level.checkpoints.restore(k, range, {row_.blank, row_.label});
    for (std::int64_t i = range.end; i <= inner.top / kStep * kStep + kStep - 1; ++i)
      row_.blank[i] = row_.label[i] = kImpossible;  // not reached yet, or dropped
    band_.take(range);
  }

  // Looks for a path in a narrow walk, within `Beam` of the largest value. Returns its score; -infinity if it found
  // none, NaN if an emission is NaN or +infinity.
  double find_some_path(const Segment& all) {
    Beam beam(batch_.path.pruning, frames_, target_.size, table_.cost_of_reading());
    if (!beam.possible()) return kImpossible;
    start(true);
    for (std::int64_t t = 0, frames; t < frames_; t += frames) {
      frames = frames_ - t < kFramesPerBlock ? frames_ - t : kFramesPerBlock;
      const int count = static_cast<int>(frames);
      const Range range = band_.within(positions(all, t, frames), count);
      if (range.begin >= range.end) return kImpossible;
      if (!table_.read(t, count, range.end - range.begin, false)) return std::numeric_limits<double>::quiet_NaN();
      table_.largest_of_frames(band_.maxima(t));
      walk_block<false>(range, count, 0, 0);
      const double high = largest(row_, range);
      band_.drop(row_, range, Beam::limit(high));
      if (!beam.goes_on(range, band_.range(), band_.maxima(t), count, high)) return kImpossible;
    }
    return best_end();
  }

  // ---- back ---------------------------------------------------------------------------------------------------------

  // Writes the best path and returns its score; -infinity if there is no path, NaN if an emission is NaN or +infinity.
  double find() {
    table_.choose_slots(target_);
    for (std::int64_t i = 0; i < width_; ++i) skip_[i] = target_.may_skip(i) ? 0 : kImpossible;
    const Segment all{0, frames_, target_.size - 1, target_.size};
    const double known = find_some_path(all);
    if (known != known) return known;
    const bool found = known != kImpossible;
    if (found) band_.require(known);
    // Nothing comes before the first label. (A band closes its rows at both ends, as they are walked.)
    for (std::int64_t k = 0; k <= kept_frames_; ++k) kept_.label[kept_at(k) - 1] = kImpossible;
    start(found);
    if (!walk_saving(level_[0], all, found)) return std::numeric_limits<double>::quiet_NaN();
    const double score = best_end();
    position_ = target_.size - in_label_;
    if (score != kImpossible) trace_segments(0, all);
    return score;
  }

  // `drops`: whether the walk that starts may leave out positions.
  void start(bool drops) {
    for (std::int64_t i = 0; i < width_; ++i) row_.blank[i] = row_.label[i] = kImpossible;
    row_.blank[0] = 0;  // before the first frame
    band_.start(drops);
  }

  // The score of the best path that was walked, and whether it ends in a label.
  double best_end() {
    const double blank = row_.blank[target_.size];
    const double label = target_.size > 0 ? row_.label[target_.size - 1] : kImpossible;
    in_label_ = target_.size > 0 && label >= blank;
    return in_label_ ? label : blank;
  }

  std::int64_t kept_at(std::int64_t row) const { return row * kept_pitch_ + kStep; }

  // Of a row whose position 0 would be at `at`: no path comes from beside its range.
  void close(std::int64_t at, Range range) const {
    kept_.label[at + range.begin - 1] = kImpossible;
    kept_.blank[at + range.end] = kept_.label[at + range.end] = kImpossible;
  }

  // Traces the path through a segment in which each segment has a checkpoint, to the state of the frame before it.
  void trace_segments(int l, const Segment& outer) {
    Level& level = level_[l];
    for (std::int64_t k = (outer.end - outer.begin + level.length - 1) / level.length - 1; k >= 0; --k) {
      const std::int64_t begin = outer.begin + k * level.length;
      const std::int64_t end = outer.end - begin < level.length ? outer.end : begin + level.length;
      const Segment inner{begin, end, position_, position_};
      restore(level, k, inner);
      if (end - begin <= kept_frames_) {
        trace(inner);
        continue;
      }
      walk_saving(level_[l + 1], inner, true);
      trace_segments(l + 1, inner);
    }
  }

  void trace(const Segment& segment) {
    const std::int64_t base = positions(segment, segment.begin, 0).begin;
    const Range range = band_.range();
    const std::size_t bytes = static_cast<std::size_t>(range.end - range.begin) * sizeof(double);
    std::memcpy(kept_.blank + kept_at(0) + range.begin - base, row_.blank + range.begin, bytes);
    std::memcpy(kept_.label + kept_at(0) + range.begin - base, row_.label + range.begin, bytes);
    close(kept_at(0) - base, range);
    walk<true>(segment, segment.begin, segment.end, true);
    for (std::int64_t t = segment.end - 1; t >= segment.begin; --t) {
      write(t);
      const std::int64_t at = kept_at(t - segment.begin) + position_ - base;
      const double blank = kept_.blank[at], label = kept_.label[at], before = kept_.label[at - 1];
      const double stay = in_label_ ? label : blank, step = in_label_ ? blank : before;
      const double skip = in_label_ ? before + skip_[position_] : kImpossible;
      if (stay >= step && stay >= skip) continue;
      const bool skips = skip > step;
      position_ -= skips || !in_label_;
      in_label_ = skips || !in_label_;
    }
  }

  void write(std::int64_t t) const {
    const std::int64_t at = n_ * batch_.frames + t, label = in_label_ ? target_.labels[position_] : batch_.blank;
    batch_.path.classes[at] = label;
    batch_.path.states[at] = 2 * position_ + in_label_;
    static_cast<T*>(batch_.path.scores)[at] = static_cast<const T*>(
        batch_.emissions)[t * batch_.strides.frame + n_ * batch_.strides.item + label * batch_.strides.clazz];
  }

  void fill(std::int64_t begin, std::int64_t end, double score) const {
    for (std::int64_t at = n_ * batch_.frames + begin; at < n_ * batch_.frames + end; ++at) {
      batch_.path.classes[at] = batch_.blank;
      batch_.path.states[at] = -1;
      static_cast<T*>(batch_.path.scores)[at] = narrow<T>(score);
    }
  }

  const Batch& batch_;
  std::int64_t n_, frames_;
  Target target_;
  std::int64_t width_;  // positions, rounded up to whole steps, and one step more
  Table table_;

  double* skip_;
  ScoreBand band_;
  ScoreRow row_;              // after the frame that was walked last
  std::int64_t kept_frames_;  // the most of a segment of the last level
  Level level_[kMaxLevels];
  int levels_ = 0;
  ScoreRow kept_;  // before such a segment and after each of its frames
  std::int64_t kept_pitch_;

  std::int64_t position_ = 0;  // the state that the path is traced back to
  bool in_label_ = false;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
