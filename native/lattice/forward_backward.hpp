// The forward recursion of CTC over a block of frames, and the backward recursion as its mirror.
//
// Positions are those of target.hpp. With p the emission of a frame (Graves et al. 2006, eq. 6, states split into
// blanks B and labels L):
//
//     B'[i] = (B[i] + L[i-1]) p(blank)
//     L'[i] = (L[i] + B[i] + skip[i] L[i-1]) p(label i)        skip[i]: label i differs from label i-1
//
// The mirrored problem walks the frames from the last to the first and the positions from S down to 0; there position j
// holds label j-1 and the blank *after* it, and the same two lines hold with j+1 in place of i-1 and skip[j] as it is.
// `Direction` is +1 forward and -1 for the mirror.
//
// Range. Every state has its own power of two: its value is m 2^e with m a double. Within a block of frames the e are
// constant, and so are the ratios of neighbouring powers of two: a step is three multiply-adds and two products on the
// m. Before the next block every m is brought back to the middle of a double's range (`normalise`).
//
// The mirror takes its powers of two from the forward walk, such that forward times mirror is the occupancy, up to one
// common factor. So its ratios are those of the forward walk (`rescale`).
//
// The processor's flags tell whether a product of a block left the range of a double. If so, the block is walked again
// frame by frame (`exact_step`), which cannot fail: each sum is scaled by its own largest term. Backward, only overflow
// counts: underflow is an occupancy of less than 2^-80 (2^-600 in double). If a ratio makes a lost value large again,
// the total is not reached (`holds_total`), and the block is walked again, too.
#pragma once

#include "lattice/rows.hpp"
#include "lattice/target.hpp"
#include "simd/simd.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr std::int64_t kNever = -(std::int64_t{1} << 61);  // exponent of a state that nothing has reached
constexpr std::int64_t kVoid = std::int64_t{1} << 61;      // exponent of a position that holds no state
constexpr std::int64_t kMiddle = 400;    // mantissas start a block at 2^400: growth by 2^600 is rarer than decay
constexpr std::int64_t kLow = -400;      // or lower, where they grow by more: ahead of all that is probable
constexpr std::int64_t kSteepest = 256;  // a state is at most 2^256 times smaller than its source

// Forward times mirror is the occupancy times 2^kProduct, in the range of Real, in which it is stored.
template <class Real>
constexpr std::int64_t kProduct = sizeof(Real) == 4 ? 60 : 600;
template <class Real>
constexpr double kProductUnit = sizeof(Real) == 4 ? 0x1p60 : 0x1p600;  // 2^kProduct

struct Topology {
  std::int64_t labels;       // S
  std::int64_t width;        // S + 1 rounded up to whole vectors
  const std::int64_t* skip;  // all ones where label i may follow label i-1 directly
};

// The emissions of a block's frames: one row of label emissions per frame, and the blank's.
template <class Value>
struct Emissions {
  const Value* label;  // [frame][position]
  std::int64_t pitch;
  const double* blank;  // [frame]
  // Exponents, used by exact steps only: emission = mantissa * 2^exponent.
  const std::int64_t* label_exponent = nullptr;
  const std::int64_t* blank_exponent = nullptr;
};

template <int Direction>
constexpr std::int64_t label_offset = Direction > 0 ? 0 : -1;  // position j of the mirror holds label j - 1

template <int Direction>
inline void mark_void(const Topology& topology, const Row& row) {
  const std::int64_t last = topology.labels;
  if constexpr (Direction > 0) {
    for (std::int64_t i = last; i < topology.width + kPad; ++i) {
      row.label_exponent[i] = kVoid;
      if (i > last) row.blank_exponent[i] = kVoid;
    }
  } else {
    row.label_exponent[0] = kVoid;
  }
}

// Empties the states of whole vectors of positions.
template <int Direction>
void empty(const Topology& topology, Range range, const Row& row) {
  for (std::int64_t i = range.begin; i < range.end; i += kLanes) {
    store(row.blank + i, F64{});
    store(row.label + i, F64{});
    store(row.blank_exponent + i, broadcast<I64>(kNever));
    store(row.label_exponent + i, broadcast<I64>(kNever));
  }
  mark_void<Direction>(topology, row);
}

// Before the first frame: all mass on one blank, from which one step gives the rows of the first frame.
template <int Direction>
void start(const Topology& topology, const Row& row) {
  empty<Direction>(topology, {-kPad, topology.width + kPad}, row);
  const std::int64_t first = Direction > 0 ? 0 : topology.labels;
  row.blank[first] = 1;
  row.blank_exponent[first] = 0;
}

// Lifts states that are far smaller than their source, and gives empty states the exponent of their source. Rare, so it
// is scalar. Returns false if a mantissa became 0.
inline bool lift(const Topology& topology, Range range, const Row& row) {
  bool kept = true;
  const auto raise = [&kept](double& m, std::int64_t& e, std::int64_t source) {
    if (m == 0) {
      e = source;
    } else if (e < source - kSteepest) {
      const std::int64_t down = e - (source - kSteepest);
      kept &= down >= -1000;
      m = down < -1000 ? 0 : m * power_of_two(broadcast<I64>(down))[0];
      e = source - kSteepest;
    }
  };
  const std::int64_t last = range.end <= topology.labels ? range.end - 1 : topology.labels;
  for (std::int64_t i = range.begin; i <= last; ++i) {
    const std::int64_t before = row.label_exponent[i - 1];
    raise(row.blank[i], row.blank_exponent[i], before);
    if (i == topology.labels) break;  // the last blank has no label
    const std::int64_t blank = row.blank_exponent[i];
    raise(row.label[i], row.label_exponent[i], topology.skip[i] != 0 && before > blank ? before : blank);
  }
  return kept;
}

// How the range of a row's states fits one block.
enum class Fit {
  well,
  while_states_last,  // if no state loses nearly all of its mass: a ratio below 2^-1022 counts as 0 (`states_last`)
  not_at_all,
};

// Copies `from` to `to` with mantissas near 2^Middle, and computes the ratios of a block. A range that `continues`
// comes after one for which this was done.
template <std::int64_t Middle = kMiddle>
Fit normalise(const Topology& topology, Range range, bool continues, const Row& from, const Row& to,
              const Ratios& ratios) {
  // Returns a vector's exponents; marks states without mass, whose exponent is meaningless.
  const auto split = [](const double* m, const std::int64_t* e, double* m_to, std::int64_t* e_to, I64& empty) {
    const F64 value = load<F64>(m);
    const I64 exponent = load<I64>(e);
    empty |= (value == 0.0) & (exponent != kVoid);
    const I64 middle = value == 0.0 ? exponent : exponent + exponent_of(value) - Middle;
    store(m_to, mantissa_of<Middle>(value));
    store(e_to, middle);
    return middle;
  };
  if (!continues) to.label_exponent[range.begin - 1] = kNever;  // cannot reach the end: nothing flows from it
  I64 vanishing{}, label_before = broadcast<I64>(to.label_exponent[range.begin - 1]);
  // Computes a vector's ratios. Returns where a state must be lifted.
  const auto relate = [&](std::int64_t i, I64 blank, I64 label) {
    const auto vanishes = [](I64 d) { return (d < -1022) & (d > kNever / 2); };
    const I64 before = shift_up(label_before, label);  // not loaded: that would wait for the store
    label_before = label;
    const I64 skipped = load<I64>(topology.skip + i) ? before - label : broadcast<I64>(kNever);
    vanishing |= vanishes(before - blank) | vanishes(blank - label) | vanishes(skipped);
    store(ratios.blank_from_label + i, power_of_two(before - blank));
    store(ratios.label_from_blank + i, power_of_two(blank - label));
    store(ratios.label_from_label + i, power_of_two(skipped));
    return larger(larger(before - blank, blank - label), skipped) > kSteepest;
  };

  std::int64_t well = range.begin;  // nothing before this vector must be lifted
  for (; well < range.end; well += kLanes) {
    const std::int64_t i = well;
    const I64 earlier = vanishing, last = label_before;
    I64 bad{};
    const I64 blank = split(from.blank + i, from.blank_exponent + i, to.blank + i, to.blank_exponent + i, bad);
    const I64 label = split(from.label + i, from.label_exponent + i, to.label + i, to.label_exponent + i, bad);
    bad |= relate(i, blank, label);
    if (any_lane(bad)) {
      vanishing = earlier;
      label_before = last;
      break;
    }
  }
  if (well < range.end) {
    I64 ignored{};
    for (std::int64_t i = well + kLanes; i < range.end; i += kLanes) {
      split(from.blank + i, from.blank_exponent + i, to.blank + i, to.blank_exponent + i, ignored);
      split(from.label + i, from.label_exponent + i, to.label + i, to.label_exponent + i, ignored);
    }
    if (!lift(topology, {well, range.end}, to)) return Fit::not_at_all;
    for (std::int64_t i = well; i < range.end; i += kLanes)
      relate(i, load<I64>(to.blank_exponent + i), load<I64>(to.label_exponent + i));
  }
  return any_lane(vanishing) ? Fit::while_states_last : Fit::well;
}

// Whether every state holds much more than 2^-1022 of the most that it can have held at the start of the block.
inline bool states_last(const Topology& topology, Range range, const Row& row) {
  const std::int64_t last = range.end <= topology.labels ? range.end - 1 : topology.labels;
  for (std::int64_t i = range.begin; i <= last; ++i)
    if (row.blank[i] < 0x1p-500 || (i < topology.labels && row.label[i] < 0x1p-500)) return false;
  return true;
}

// Copies the mirror's row `from` to `to` with powers of two such that its product with the forward row is the occupancy
// times 2^product. `total` is the exponent of the sum over all paths.
inline void rescale(Range range, std::int64_t total, std::int64_t product, const std::int64_t* alpha_blank_exponent,
                    const std::int64_t* alpha_label_exponent, const Row& from, const Row& to) {
  const auto convert = [total, product](const std::int64_t* alpha, const double* m, const std::int64_t* e, double* m_to,
                                        std::int64_t* e_to) {
    const I64 unit = total - product - load<I64>(alpha);
    const I64 up = load<I64>(e) - unit;
    store(m_to, load<F64>(m) * power_of_two(up >> 1) * power_of_two(up - (up >> 1)));
    store(e_to, unit);
  };
  for (std::int64_t i = range.begin; i < range.end; i += kLanes) {
    convert(alpha_blank_exponent + i, from.blank + i, from.blank_exponent + i, to.blank + i, to.blank_exponent + i);
    convert(alpha_label_exponent + i - 1, from.label + i, from.label_exponent + i, to.label + i, to.label_exponent + i);
  }
}

// A visitor of the mantissas of a walk over one block: does nothing.
struct Forget {
  void states(int, std::int64_t, F64, F64) {}
  void end_of_frame(int) {}
};

// A visitor that stores them, [frame][position].
struct Keep {
  double *blank, *label;
  std::int64_t pitch;

  void states(int k, std::int64_t i, F64 blank_mantissa, F64 label_mantissa) {
    store(blank + k * pitch + i, blank_mantissa);
    store(label + k * pitch + i, label_mantissa);
  }
  void end_of_frame(int) {}
};

// Walks `frames` frames over Vectors vectors of positions, held in registers. `edge[k]` is the label mantissa that
// flows in from the neighbouring vectors at step k; it is replaced by the one that flows out. `visit` gets the
// mantissas of every frame: forward, after its emission; backward, before it.
template <int Direction, int Vectors, class Value, class Visit>
inline void walk_vectors(std::int64_t begin, int frames, const Row& row, const Ratios& ratios,
                         const Emissions<Value>& emissions, double* edge, Visit visit) {
  F64 blank[Vectors], label[Vectors], to_blank[Vectors], from_blank[Vectors], from_label[Vectors];
  for (int v = 0; v < Vectors; ++v) {
    const std::int64_t i = begin + v * kLanes;
    blank[v] = load<F64>(row.blank + i);
    label[v] = load<F64>(row.label + i);
    to_blank[v] = load<F64>(ratios.blank_from_label + i);
    from_blank[v] = load<F64>(ratios.label_from_blank + i);
    from_label[v] = load<F64>(ratios.label_from_label + i);
  }
  for (int step = 0; step < frames; ++step) {
    const int k = Direction > 0 ? step : frames - 1 - step;
    const Value* emission = emissions.label + k * emissions.pitch + begin + label_offset<Direction>;
    const double blank_emission = emissions.blank[k];
    const F64 inflow = broadcast<F64>(edge[step]);
    edge[step] = Direction > 0 ? label[Vectors - 1][kLanes - 1] : label[0][0];
    F64 before[Vectors];
    for (int v = 0; v < Vectors; ++v) {
      if constexpr (Direction > 0) {
        before[v] = shift_up(v == 0 ? inflow : label[v == 0 ? 0 : v - 1], label[v]);
      } else {
        before[v] = shift_down(label[v], v == Vectors - 1 ? inflow : label[v == Vectors - 1 ? v : v + 1]);
      }
    }
    for (int v = 0; v < Vectors; ++v) {
      const F64 into_label = label[v] + from_blank[v] * blank[v] + from_label[v] * before[v];
      const F64 into_blank = blank[v] + to_blank[v] * before[v];
      label[v] = into_label * load_widened(emission + v * kLanes);
      blank[v] = into_blank * blank_emission;
      visit.states(k, begin + v * kLanes, Direction > 0 ? blank[v] : into_blank, Direction > 0 ? label[v] : into_label);
    }
    visit.end_of_frame(k);
  }
  for (int v = 0; v < Vectors; ++v) {
    store(row.blank + begin + v * kLanes, blank[v]);
    store(row.label + begin + v * kLanes, label[v]);
  }
}

// Walks a range of positions; `edge` as above.
template <int Direction, class Value, class Visit>
__attribute__((noinline)) void walk_block(Range range, int frames, const Row& row, const Ratios& ratios,
                                          const Emissions<Value>& emissions, double* edge, Visit visit) {
  constexpr std::int64_t stride = kVectorsPerGroup * kLanes;
  // Vectors are walked in the direction in which probability flows.
  std::int64_t left = range.end - range.begin;
  const auto next = [&](std::int64_t positions) {
    left -= positions;
    return Direction > 0 ? range.end - left - positions : range.begin + left;
  };
  while (left >= stride)
    walk_vectors<Direction, kVectorsPerGroup>(next(stride), frames, row, ratios, emissions, edge, visit);
  if (left >= 2 * kLanes) walk_vectors<Direction, 2>(next(2 * kLanes), frames, row, ratios, emissions, edge, visit);
  if (left > 0) walk_vectors<Direction, 1>(next(kLanes), frames, row, ratios, emissions, edge, visit);
}

// Walks one frame. Each sum is scaled by its own largest term, and emissions are mantissa and exponent: exact for any
// input.
template <int Direction>
void exact_step(const Topology& topology, Range range, int k, const Row& from, const Row& to,
                const Emissions<double>& emissions, const Row* kept) {
  for (std::int64_t i = range.begin; i < range.end; i += kLanes) {
    const auto split = [](double* m, std::int64_t* e) {
      const F64 value = load<F64>(m);
      const I64 exponent = load<I64>(e) + exponent_of(value);
      store(m, mantissa_of(value));
      store(e, value == 0.0 ? broadcast<I64>(kNever) : exponent);
    };
    split(from.blank + i, from.blank_exponent + i);
    split(from.label + i, from.label_exponent + i);
  }
  const std::int64_t outside = Direction > 0 ? range.begin - 1 : range.end;
  from.label[outside] = 0;
  from.label_exponent[outside] = kNever;

  for (std::int64_t i = range.begin; i < range.end; i += kLanes) {
    const F64 blank = load<F64>(from.blank + i), label = load<F64>(from.label + i);
    const F64 before = load<F64>(from.label + i - Direction);
    const I64 blank_e = load<I64>(from.blank_exponent + i), label_e = load<I64>(from.label_exponent + i);
    const I64 before_e = load<I64>(from.label_exponent + i - Direction);
    const I64 skipped_e = load<I64>(topology.skip + i) ? before_e : broadcast<I64>(2 * kNever);

    const I64 into_blank_e = larger(blank_e, before_e);
    const I64 into_label_e = larger(larger(label_e, blank_e), skipped_e);
    const F64 into_blank =
        blank * power_of_two(blank_e - into_blank_e) + before * power_of_two(before_e - into_blank_e);
    const F64 into_label = label * power_of_two(label_e - into_label_e) + blank * power_of_two(blank_e - into_label_e) +
                           before * power_of_two(skipped_e - into_label_e);

    const std::int64_t at = k * emissions.pitch + i + label_offset<Direction>;
    const F64 label_after = into_label * load<F64>(emissions.label + at);
    const I64 label_after_e = into_label_e + load<I64>(emissions.label_exponent + at);
    const F64 blank_after = into_blank * emissions.blank[k];
    const I64 blank_after_e = into_blank_e + emissions.blank_exponent[k];
    store(to.label + i, label_after);
    store(to.label_exponent + i, label_after_e);
    store(to.blank + i, blank_after);
    store(to.blank_exponent + i, blank_after_e);
    if (kept != nullptr) {
      store(kept->blank + i, Direction > 0 ? blank_after : into_blank);
      store(kept->label + i, Direction > 0 ? label_after : into_label);
      store(kept->blank_exponent + i, Direction > 0 ? blank_after_e : into_blank_e);
      store(kept->label_exponent + i, Direction > 0 ? label_after_e : into_label_e);
    }
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
