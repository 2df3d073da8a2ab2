// The best path of one item of a batch, without a table of backpointers.
//
// Forward, all frames are walked, and the states' values are saved every so many of them: checkpoints. Back, stretch by
// stretch from the last, each is walked once more from its checkpoint, now with all values kept, and the path is walked
// back through them by comparing what each state could have come from.
//
// Where a stretch of K frames ends is known when its turn comes, and a path moves by at most one position a frame: of
// all positions only the last K before that end are walked again, a triangle, so that the second walk costs little
// where targets are long. A stretch too long to keep is cut into shorter ones in the same way, with checkpoints as wide
// as the triangle. So memory is a few checkpoints of 16 bytes per label, whatever the number of frames, and nothing is
// pruned: the result is the best path.
//
// Among equally good paths the one is taken that, read from its end, ends in the last label rather than in the blank
// after it, and comes from the same state rather than from the one before, and from that rather than by a skip.
#pragma once

#include "lattice/viterbi.hpp"

namespace ctckit::CTCKIT_ISA::viterbi {
namespace {

constexpr std::int64_t kShortStretch = 32, kLongStretch = 512;      // frames whose values are kept
constexpr std::int64_t kCachedCheckpoints = std::int64_t{1} << 19;  // bytes; more of them: longer stretches
constexpr std::int64_t kFewestCheckpoints = 8;
constexpr int kMaxLevels = 16;

template <class T>
class BestPath {
  using Table = EmissionTable<T>;
  using Real = typename Table::Real;

 public:
  BestPath(const Batch& batch, std::int64_t n, Arena& arena)
      : batch_(batch),
        n_(n),
        frames_(batch.input_lengths[n]),
        labels_(batch.target_lengths[n]),
        target_(batch.labels + batch.offsets[n]),
        width_((labels_ / kStep + 2) * kStep),
        table_(batch, n, width_, arena) {
    choose_levels();
    skip_ = arena.take<double>(width_);
    row_ = take_row(width_, arena);
    for (int l = 0; l < levels_; ++l) level_[l].saved = take_row(level_[l].count * level_[l].pitch, arena);
    kept_pitch_ = (stretch_ < labels_ ? stretch_ / kStep * kStep : labels_ / kStep * kStep) + 4 * kStep;
    kept_ = take_row((stretch_ + 1) * kept_pitch_, arena);
  }

  void run() {
    const double best_score = frames_needed() <= frames_ ? find() : kImpossible;
    batch_.nll[n_] = -best_score;
    if (best_score - best_score != 0) fill(0, frames_, best_score);  // NaN, or no path
    fill(frames_, batch_.frames, 0);
  }

 private:
  // Frames [begin, end) of a walk of which only paths count that are in positions `goal` to `top` in the last of them.
  struct Stretch {
    std::int64_t begin, end, goal, top;
  };
  struct Range {
    std::int64_t begin, end;
  };
  struct Level {
    std::int64_t piece, count, pitch;  // frames between checkpoints; how many of those; positions that each can hold
    Row saved;
  };

  // ---- memory -------------------------------------------------------------------------------------------------------

  static Row take_row(std::int64_t count, Arena& arena) {
    double* blank = arena.take<double>(count);
    return {blank, arena.take<double>(count)};
  }

  void choose_levels() {
    const auto pitch_for = [&](std::int64_t frames) {
      return frames + 2 * kStep < width_ ? frames + 2 * kStep : width_;
    };
    std::int64_t frames = frames_;
    stretch_ = kShortStretch;
    while (stretch_ < kLongStretch && frames / stretch_ * width_ * 16 > kCachedCheckpoints) stretch_ *= 2;
    do {
      const std::int64_t pitch = pitch_for(frames), affordable = batch_.path.checkpoint_bytes / (16 * pitch);
      const std::int64_t count = affordable > kFewestCheckpoints ? affordable : kFewestCheckpoints;
      std::int64_t piece = (frames + count - 1) / count;
      piece = piece < stretch_ ? stretch_ : (piece + kFrames - 1) / kFrames * kFrames;
      level_[levels_++] = {piece, frames / piece + 1, pitch, {}};
      frames = piece;
    } while (frames > stretch_ && levels_ < kMaxLevels);
  }

  // ---- forward ------------------------------------------------------------------------------------------------------

  // The positions that matter in frames [t, t + frames) and in the frame before: reached from the start by at most one
  // position a frame, and able to be at the goal in the end.
  static Range range_of(const Stretch& stretch, std::int64_t t, std::int64_t frames) {
    const std::int64_t low = stretch.goal - (stretch.end - t), high = t + frames;
    return {(low > 0 ? low : 0) / kStep * kStep, (high < stretch.top ? high : stretch.top) / kStep * kStep + kStep};
  }

  template <bool Keep>
  void walk_block(const Range& range, int frames, std::int64_t base, std::int64_t kept_frame) {
    double edge[kFrames];
    for (double& value : edge) value = kImpossible;  // what is left of the range cannot be at the goal in the end
    const std::int64_t at = Keep ? kept_at(kept_frame) - base : 0;
    const auto walk = [&]<int Vectors>(std::int64_t i) {
      const Row kept = Keep ? Row{kept_.blank + at + i, kept_.label + at + i} : Row{};
      walk_group<Vectors, Keep>(frames, {row_.blank + i, row_.label + i}, skip_ + i,
                                table_.template rows_from<Vectors>(i), table_.blanks(), edge, kept, kept_pitch_);
    };
    std::int64_t i = range.begin;
    for (; i + kGroup * kLanes <= range.end; i += kGroup * kLanes) walk.template operator()<kGroup>(i);
    for (; i < range.end; i += kStep) walk.template operator()<2>(i);
  }

  // Walks frames [t, end) of a stretch, block by block. Returns false where a value is NaN.
  template <bool Keep>
  bool walk(const Stretch& stretch, std::int64_t t, std::int64_t end, bool again) {
    const std::int64_t base = range_of(stretch, stretch.begin, 0).begin;
    for (int frames; t < end; t += frames) {
      frames = end - t < kFrames ? static_cast<int>(end - t) : kFrames;
      const Range range = range_of(stretch, t, frames);
      if (!table_.read(t, frames, range.end - range.begin, again)) return false;
      walk_block<Keep>(range, frames, base, t - stretch.begin + 1);
    }
    return true;
  }

  // Walks a stretch and saves a checkpoint before each piece of it.
  bool walk_saving(Level& level, const Stretch& stretch, std::int64_t end, bool again) {
    for (std::int64_t piece = 0, t = stretch.begin; t < end; ++piece, t += level.piece) {
      save(level, piece, stretch, t);
      if (!walk<false>(stretch, t, end - t < level.piece ? end : t + level.piece, again)) return false;
    }
    return true;
  }

  static void copy(double* to, const double* from, std::int64_t count) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(double));
  }

  void save(const Level& level, std::int64_t piece, const Stretch& stretch, std::int64_t t) const {
    const Range range = range_of(stretch, t, 0);
    const std::int64_t at = piece * level.pitch + range.begin - range_of(stretch, stretch.begin, 0).begin;
    copy(level.saved.blank + at, row_.blank + range.begin, range.end - range.begin);
    copy(level.saved.label + at, row_.label + range.begin, range.end - range.begin);
  }

  // Takes up again where `outer` was at the start of `inner`, one of its pieces.
  void restore(const Level& level, std::int64_t piece, const Stretch& outer, const Stretch& inner) {
    const std::int64_t base = range_of(outer, outer.begin, 0).begin;
    const Range needed = range_of(inner, inner.begin, 0);
    const std::int64_t at = piece * level.pitch + needed.begin - base;
    copy(row_.blank + needed.begin, level.saved.blank + at, needed.end - needed.begin);
    copy(row_.label + needed.begin, level.saved.label + at, needed.end - needed.begin);
    for (std::int64_t i = needed.end; i <= inner.top / kStep * kStep + kStep - 1; ++i)
      row_.blank[i] = row_.label[i] = kImpossible;  // not reached yet
  }

  // ---- back ---------------------------------------------------------------------------------------------------------

  // Returns the best path's score, having written the path; -infinity if there is none, NaN if it cannot be told.
  double find() {
    prepare();
    const Stretch all{0, frames_, labels_ - 1, labels_};
    if (!walk_saving(level_[0], all, frames_, false)) return std::numeric_limits<double>::quiet_NaN();
    position_ = labels_;
    in_label_ = labels_ > 0 && row_.label[labels_ - 1] >= row_.blank[labels_];
    position_ -= in_label_;
    const double score = in_label_ ? row_.label[position_] : row_.blank[position_];
    if (score != kImpossible) trace_pieces(0, all);
    return score;
  }

  std::int64_t frames_needed() const {
    std::int64_t frames = labels_;
    for (std::int64_t i = 1; i < labels_; ++i) frames += target_[i] == target_[i - 1];
    return frames;
  }

  void prepare() {
    table_.choose_slots(target_);
    for (std::int64_t i = 0; i < width_; ++i) {
      skip_[i] = i > 0 && i < labels_ && target_[i] != target_[i - 1] ? 0 : kImpossible;
      row_.blank[i] = row_.label[i] = kImpossible;
    }
    row_.blank[0] = 0;                                                                       // before the first frame
    for (std::int64_t k = 0; k <= stretch_; ++k) kept_.label[kept_at(k) - 1] = kImpossible;  // before the first label
  }

  std::int64_t kept_at(std::int64_t row) const { return row * kept_pitch_ + kStep; }

  // Walks back through a stretch whose checkpoints are saved, to the state of the frame before it.
  void trace_pieces(int l, const Stretch& stretch) {
    const Level& level = level_[l];
    for (std::int64_t piece = (stretch.end - stretch.begin + level.piece - 1) / level.piece - 1; piece >= 0; --piece) {
      const std::int64_t begin = stretch.begin + piece * level.piece;
      const std::int64_t end = stretch.end - begin < level.piece ? stretch.end : begin + level.piece;
      const Stretch inner{begin, end, position_, position_};
      restore(level, piece, stretch, inner);
      if (l + 1 == levels_) {
        trace(inner);
        continue;
      }
      walk_saving(level_[l + 1], inner, end, true);
      trace_pieces(l + 1, inner);
    }
  }

  void trace(const Stretch& stretch) {
    const Range range = range_of(stretch, stretch.begin, 0);
    copy(kept_.blank + kept_at(0), row_.blank + range.begin, range.end - range.begin);
    copy(kept_.label + kept_at(0), row_.label + range.begin, range.end - range.begin);
    walk<true>(stretch, stretch.begin, stretch.end, true);
    for (std::int64_t t = stretch.end - 1; t >= stretch.begin; --t) {
      write(t);
      const std::int64_t at = kept_at(t - stretch.begin) + position_ - range.begin;
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
    const std::int64_t at = n_ * batch_.frames + t, label = in_label_ ? target_[position_] : batch_.blank;
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
  std::int64_t n_, frames_, labels_;
  const std::int64_t* target_;
  std::int64_t width_;  // positions, rounded up to whole steps, and one step more
  Table table_;

  double* skip_;
  Row row_;  // the values after the frame that was walked last
  std::int64_t stretch_;
  Level level_[kMaxLevels];
  int levels_ = 0;
  Row kept_;  // the values before a stretch and after each of its frames
  std::int64_t kept_pitch_;

  std::int64_t position_ = 0;  // the state that the path was traced back to
  bool in_label_ = false;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA::viterbi
