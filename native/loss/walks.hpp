// The two walks over one block of frames of an item: alpha forward, beta backward as the mirror's walk, which computes
// the occupancy. A block that leaves the range of a double is walked again in exact steps.
#pragma once

#include "lattice/emissions.hpp"
#include "loss/kept_segment.hpp"
#include "loss/occupancy.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// The likelihood is mantissa * 2^exponent, relative to the frames' scales.
struct Likelihood {
  double mantissa = 0;
  std::int64_t exponent = 0;

  // The sum over the states of the products of forward and mirror, in every frame.
  template <class Real>
  double of_products() const {
    return mantissa * kProductUnit<Real>;
  }
};

template <class T>
class Walks {
  using Real = typename ComputedIn<T>::Real;

 public:
  Walks(const Target& target, std::int64_t width, EmissionSource<T>& source)
      : target_(target), width_(width), source_(source) {}

  // Takes memory for segments of so many frames, of which up to `pitch` positions are kept.
  void take(const RowArena& rows, std::int64_t frames, std::int64_t pitch, bool goes_back) {
    skip_ = rows.take<std::int64_t>();
    slots_ = rows.take<std::int32_t>();
    for (Row& row : alpha_) row = rows.take_states();
    tile_ratios_ = RowArena{rows.arena, kTile}.take_ratios(1);
    tile_emissions_ = rows.arena.template take<Real>(kFramesPerBlock * kTilePitch);
    exact_label_ = rows.take<double>(kFramesPerBlock);
    exact_label_exponent_ = rows.take<std::int64_t>(kFramesPerBlock);
    kept.take(rows, frames, pitch, goes_back);
    if (!goes_back) return;
    for (Row& row : beta_) row = rows.take_states();
    exact_beta_ = rows.take_states();
  }

  void prepare_target() {
    source_.choose_slots(target_, slots_);
    const auto empty = static_cast<std::int32_t>(source_.slots().empty());
    for (std::int64_t i = target_.size; i < width_ + kPad; ++i) slots_[i] = empty;
    for (std::int64_t i = -kPad; i < width_ + kPad; ++i) skip_[i] = target_.may_skip(i) ? -1 : 0;
  }
  const std::int32_t* slots() const { return slots_; }

  // The states before a walk; after it, those of the last frame that was walked.
  const Row& alpha() const { return alpha_[0]; }
  void start_alpha() {
    for (const Row& row : alpha_) start<+1>(topology(), row);
  }
  void empty_alpha(Range range) {
    for (const Row& row : alpha_) empty<+1>(topology(), range, row);
  }
  // Empties the states of the last row from a position on, as far as the next block and the one after it read them.
  void empty_alpha_from(std::int64_t begin) {
    const std::int64_t end = begin + kFramesPerBlock + 3 * kLanes, last = width_ + kPad;
    empty<+1>(topology(), {begin, end < last ? end : last}, alpha_[0]);
  }
  void start_beta() {
    for (const Row& row : beta_) start<-1>(topology(), row);
  }
  void empty_beta(Range range) { empty<-1>(topology(), range, beta_[0]); }

  // Brings the emissions of the last block read to its rows of the segment, from `row` on.
  Emissions<Real> expand_block(Range range, int frames, std::int64_t row) {
    expand_labels(range, frames, source_.table(), kept.label_emissions(row));
    widen_blanks(kept.blank_emissions(row));
    return kept.emissions(row);
  }

  // Walks the frames of the block last read forward, and keeps the last row alone.
  void advance_alpha(RangeFlags& flags, Range range, std::int64_t t, int frames, bool extreme) {
    if (!extreme && walk_tiles(flags, range, frames)) return swap(alpha_);
    walk_exactly<+1>(
        t, frames, range, expand_block(range, frames, 0), extreme, alpha_, [](int) { return Row{}; }, [](int) {});
  }

  // Walks the frames of one block forward, and fills `to` for the way back.
  void keep_alpha(RangeFlags& flags, Range range, std::int64_t t, int frames, const Emissions<Real>& emissions,
                  bool extreme, KeptBlock& to) {
    if (!extreme) {
      flags.clear();
      const Fit fit = normalise(topology(), range, false, alpha_[0], alpha_[1], to.ratios);
      double edge[kFramesPerBlock] = {};
      if (fit != Fit::not_at_all)
        walk_block<+1>(range, frames, alpha_[1], to.ratios, emissions, edge, Keep{to.blank, to.label, to.pitch});
      if (holds(flags, fit, range)) {
        to.exact = false;
        swap(alpha_);
        for (std::int64_t i = range.begin; i < range.end; i += kLanes) {
          store(to.blank_exponent + i, load<I64>(alpha_[0].blank_exponent + i));
          store(to.label_exponent + i, load<I64>(alpha_[0].label_exponent + i));
        }
        to.label_exponent[range.begin - 1] = kNever;  // the mirror reads it: a label never reached
        for (int k = 0; k < frames; ++k) to.label[k * to.pitch + range.begin - 1] = 0;
        return;
      }
    }
    walk_exactly<+1>(t, frames, range, emissions, extreme, alpha_, [&](int k) { return to.at(k); }, [](int) {});
    to.exact = true;
  }

  // Walks the mirror over the frames of one block, whose forward rows are in `alpha`, and computes the block's
  // occupancy. `lost`: the part of the likelihood that is left out.
  void advance_beta(RangeFlags& flags, Range range, std::int64_t t, int frames, const Emissions<Real>& emissions,
                    bool extreme, const KeptBlock& alpha, const Likelihood& total, double lost,
                    const Occupancy<Real>& to) {
    for (int k = 0; k < kFramesPerBlock; ++k) store(to.blank_sums + k * kLanes, F64{});
    if (!alpha.exact) {
      flags.clear();
      rescale(range, total.exponent, kProduct<Real>, alpha.blank_exponent, alpha.label_exponent, beta_[0], beta_[1]);
      // In the mirror, the arc from a label to a blank goes from the blank to the label.
      const Ratios ratios{alpha.ratios.label_from_blank, alpha.ratios.blank_from_label, alpha.ratios.label_from_label};
      double edge[kFramesPerBlock] = {};
      walk_block<-1>(range, frames, beta_[1], ratios, emissions, edge,
                     Multiply<Real>{alpha.blank, alpha.label, alpha.pitch, to});
      if (!flags.too_large() && holds_total(range, to, total.of_products<Real>() * (1 - lost))) return swap(beta_);
    }
    walk_exactly<-1>(
        t, frames, range, emissions, extreme, beta_, [&](int) { return exact_beta_; },
        [&](int k) { multiply_exactly(range, k, alpha, exact_beta_, total.exponent - kProduct<Real>, to); });
  }

  KeptSegment<Real> kept;

 private:
  Topology topology() const { return {target_.size, width_, skip_}; }

  static constexpr std::int64_t kTile = 256;  // positions, with 40 KiB of states, ratios and emissions
  static_assert(kTile % (kVectorsPerGroup * kLanes) == 0);
  // A row of its emissions: one cache line more, so that rows fall on different cache sets.
  static constexpr std::int64_t kTilePitch = kTile + 64 / static_cast<std::int64_t>(sizeof(Real));

  // Walks the block last read from the first row of alpha to the second; returns false if it must be walked in exact
  // steps. Tile by tile: what comes between the table of emissions and the states stays in the first-level cache, and
  // where states grow by more than a double can, a tile of them starts lower.
  bool walk_tiles(RangeFlags& flags, Range range, int frames) {
    double blanks[kFramesPerBlock], edge[kFramesPerBlock] = {};
    widen_blanks(blanks);
    for (std::int64_t begin = range.begin; begin < range.end; begin += kTile) {
      const Range tile = common({begin, begin + kTile}, range);
      Real* const labels = tile_emissions_ - begin;
      expand(source_.table(), slots_, tile, frames, labels, kTilePitch);
      const Emissions<Real> emissions{labels, kTilePitch, blanks};
      const bool continues = begin > range.begin;
      if (!walk_tile<kMiddle>(flags, tile, continues, frames, emissions, edge) &&
          !walk_tile<kLow>(flags, tile, continues, frames, emissions, edge))
        return false;
    }
    return true;
  }

  // Walks the positions of a tile, whose states start at 2^Middle. Returns false, and changes no edge, if that is bad.
  template <std::int64_t Middle>
  bool walk_tile(RangeFlags& flags, Range tile, bool continues, int frames, const Emissions<Real>& emissions,
                 double (&edge)[kFramesPerBlock]) {
    const std::int64_t at = -tile.begin;
    const Ratios ratios{tile_ratios_.blank_from_label + at, tile_ratios_.label_from_blank + at,
                        tile_ratios_.label_from_label + at};
    flags.clear();
    const Fit fit = normalise<Middle>(topology(), tile, continues, alpha_[0], alpha_[1], ratios);
    if (fit == Fit::not_at_all) return false;
    double flow[kFramesPerBlock];
    std::memcpy(flow, edge, sizeof flow);
    walk_block<+1>(tile, frames, alpha_[1], ratios, emissions, flow, Forget{});
    if (!holds(flags, fit, tile)) return false;
    std::memcpy(edge, flow, sizeof flow);
    return true;
  }

  // Whether a forward walk into the second row of alpha is good.
  bool holds(const RangeFlags& flags, Fit fit, Range range) const {
    return fit != Fit::not_at_all && !flags.out_of_range() &&
           (fit == Fit::well || states_last(topology(), range, alpha_[1]));
  }

  void widen_blanks(double* to) const {
    for (int k = 0; k < kFramesPerBlock; k += kLanes) store(to + k, load_widened(source_.table() + k));  // of slot 0
  }

  // The labels' rows of a block, [frame][position], from a table [slot][frame].
  template <class Number>
  void expand_labels(Range range, int frames, const Number* table, Number* rows) const {
    const std::int64_t begin =
        range.begin >= kLanes ? range.begin - kLanes : 0;  // the mirror reads one position before
    const std::int64_t pitch = kept.layout().pitch;
    expand(table, slots_, {begin, range.end}, frames, rows, pitch);
    for (int k = 0; k < frames && begin == 0; ++k) rows[k * pitch - 1] = 0;  // the mirror's label of position 0
  }

  // A walk reads the first row, writes the second, and swaps them.
  using Rows = Row[2];
  static void swap(Rows& rows) {
    const Row first = rows[0];
    rows[0] = rows[1];
    rows[1] = first;
  }

  // Walks one block frame by frame. `row_of(k)` is where the states of frame k are kept, if at all; then `visit(k)`.
  template <int Direction, class RowOf, class Visit>
  CTCKIT_COLD void walk_exactly(std::int64_t t, int frames, Range range, const Emissions<Real>& block, bool extreme,
                                Rows& rows, RowOf row_of, Visit visit) {
    const RowLayout& layout = kept.layout();
    double* const label = exact_label_ + layout.row(0);
    std::int64_t* const label_exponent = exact_label_exponent_ + layout.row(0);
    Emissions<double> emissions{label, layout.pitch, block.blank, label_exponent, no_exponents_};
    if (extreme) {
      const ExactTable exact = source_.read_exactly(t, frames);
      expand_labels(range, frames, exact.mantissa, label);
      expand_labels(range, frames, exact.exponent, label_exponent);
      emissions.blank = exact.mantissa;
      emissions.blank_exponent = exact.exponent;
    } else {  // alpha and beta need the same emissions to the bit
      const std::int64_t before = range.begin >= kLanes ? range.begin - kLanes : -1;  // as in `expand_labels`
      for (int k = 0; k < frames; ++k) {
        for (std::int64_t at = k * layout.pitch + before; at < k * layout.pitch + range.end; ++at) {
          label[at] = static_cast<double>(block.label[at]);
          label_exponent[at] = 0;
        }
      }
    }
    for (int step = 0; step < frames; ++step) {
      const int k = Direction > 0 ? step : frames - 1 - step;
      const Row row = row_of(k);
      exact_step<Direction>(topology(), range, k, rows[0], rows[1], emissions, row.blank != nullptr ? &row : nullptr);
      visit(k);
      swap(rows);
    }
    mark_void<Direction>(topology(), rows[0]);
  }

  const Target& target_;
  const std::int64_t width_;
  EmissionSource<T>& source_;

  std::int64_t* skip_ = nullptr;
  std::int32_t* slots_ = nullptr;  // position -> row of the tables
  Rows alpha_ = {}, beta_ = {};
  Ratios tile_ratios_ = {};
  Real* tile_emissions_ = nullptr;
  double* exact_label_ = nullptr;
  std::int64_t* exact_label_exponent_ = nullptr;
  const std::int64_t no_exponents_[kFramesPerBlock] = {};
  Row exact_beta_ = {};  // of a frame, in exact steps
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
