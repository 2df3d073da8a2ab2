// Sums over the paths through a graph: the occupancy of its states, and samples.
//
// Every value has its own exponent, so that none underflows: mantissa * 2^exponent with the mantissa in [1, 2) and the
// exponent a whole number in a double. Zero is 0 * 2^-infinity. The functions are named as those of simd/simd.hpp,
// whose exponents are integers.
#include <bit>

#include "graph/graph.hpp"

namespace ctckit {
namespace {

struct Scaled {
  double mantissa, exponent;
};
constexpr Scaled kZero{0, kNothing};

// 2^d for whole numbers d <= 0; 0 below the normal range.
inline double power_of_two(double d) {
  if (!(d >= -1022)) return 0;
  return std::bit_cast<double>((static_cast<std::uint64_t>(static_cast<std::int64_t>(d)) + 1023) << 52);
}

// m = mantissa * 2^exponent with mantissa in [1, 2).
inline double exponent_of(double m) {
  return static_cast<double>(static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(m) >> 52) - 1023);
}
inline double mantissa_of(double m) {
  const std::uint64_t fraction = (std::uint64_t{1} << 52) - 1, one = std::uint64_t{1023} << 52;
  return std::bit_cast<double>((std::bit_cast<std::uint64_t>(m) & fraction) | one);
}

// m * 2^exponent, for m > 0.
inline Scaled normalise(double m, double exponent) { return {mantissa_of(m), exponent + exponent_of(m)}; }

// e^x
inline Scaled split_exponential(double x) {
  if (x == kNothing) return kZero;
  constexpr double log2_e = 1.4426950408889634, log_2 = 0x1.62e42fefa39efp-1, log_2_rest = 0x1.abc9e3b39803fp-56;
  const double exponent = std::floor(x * log2_e);
  if (!(std::abs(exponent) < 0x1p60)) return {1, exponent};  // x has no digits after the binary point
  // In [0, log 2], up to the rounding of the product above.
  const double rest = std::fma(-exponent, log_2, x) - exponent * log_2_rest;
  return normalise(std::exp(rest), exponent);
}

inline double log_of(const Scaled& value) {
  constexpr double log_2 = 0.6931471805599453;
  return value.mantissa == 0 ? kNothing : std::log(value.mantissa) + value.exponent * log_2;
}

// The sum over the arcs, times the emission.
inline Scaled sum(const Scaled* row, const std::int32_t* begin, const std::int32_t* end, const Scaled& emission) {
  double top = kNothing;
  for (const std::int32_t* arc = begin; arc < end; ++arc) top = std::max(top, row[*arc].exponent);
  if (top == kNothing || emission.mantissa == 0) return kZero;
  double total = 0;
  for (const std::int32_t* arc = begin; arc < end; ++arc)
    total += row[*arc].mantissa * power_of_two(row[*arc].exponent - top);
  return normalise(total * emission.mantissa, top + emission.exponent);
}

class Sums {
 public:
  Sums(const Graph& graph, const GraphEmissions& emissions)
      : graph_(graph),
        emissions_(emissions),
        arcs_(graph.entering),
        reach_(graph),
        segments_(emissions.frames),
        factors_(unset<Scaled>(static_cast<std::size_t>(emissions.columns))),
        saved_(unset<Scaled>(static_cast<std::size_t>(segments_.count * graph.states))),
        rows_(unset<Scaled>(static_cast<std::size_t>((segments_.length + 1) * graph.states))) {}

  double forward() {
    read(0);
    auto next = unset<Scaled>(static_cast<std::size_t>(graph_.states)), row = next;
    for (std::int64_t s = 0; s < graph_.states; ++s)
      row[static_cast<std::size_t>(s)] = graph_.initial[static_cast<std::size_t>(s)] ? factor(s) : kZero;
    for (std::int64_t t = 0; t < emissions_.frames; ++t) {
      if (t > 0) {
        read(t);
        step(row.data(), next.data(), {0, graph_.states});
        row.swap(next);
      }
      if (t % segments_.length == 0)
        std::copy(row.begin(), row.end(), saved_.begin() + t / segments_.length * graph_.states);
    }
    const std::int32_t* const finals = graph_.finals.data();
    last_ = row;
    return log_of(sum(last_.data(), finals, finals + graph_.finals.size(), {1, 0}));
  }

  void occupancy(double* out) {
    const Arcs leaving = outgoing();
    std::vector<Scaled> beta(static_cast<std::size_t>(graph_.states), kZero), emitted(beta.size());
    for (const std::int32_t s : graph_.finals) beta[static_cast<std::size_t>(s)] = {1, 0};
    for (std::int64_t c = segments_.count - 1; c >= 0; --c) {
      const std::int64_t begin = c * segments_.length;
      const std::int64_t frames = std::min(emissions_.frames - begin, segments_.length);
      walk_again(c, {0, graph_.states}, frames - 1);
      for (std::int64_t i = frames - 1; i >= 0; --i) {
        write_occupancy(row(i), beta.data(), out + (begin + i) * graph_.states);
        read(begin + i);
        for (std::int64_t s = 0; s < graph_.states; ++s) {
          const Scaled& value = beta[static_cast<std::size_t>(s)];
          const Scaled y = factor(s);
          emitted[static_cast<std::size_t>(s)] =
              value.mantissa * y.mantissa == 0 ? kZero
                                               : normalise(value.mantissa * y.mantissa, value.exponent + y.exponent);
        }
        for (std::int64_t s = 0; s < graph_.states; ++s)
          beta[static_cast<std::size_t>(s)] = sum(emitted.data(), leaving.begin(s), leaving.end(s), {1, 0});
      }
    }
  }

  void sample(const double* uniforms, std::int64_t count, std::int64_t* states) {
    const std::int64_t frames = emissions_.frames;
    std::vector<std::int32_t> at(static_cast<std::size_t>(count));
    const auto draw_all = [&](std::int64_t t, auto arcs_of, const Scaled* values) {
      for (std::int64_t n = 0; n < count; ++n) {
        std::int32_t& state = at[static_cast<std::size_t>(n)];
        const auto [begin, end] = arcs_of(state);
        state = draw(values, begin, end, uniforms[n * frames + t]);
        states[n * frames + t] = state;
      }
    };
    const std::int32_t* const finals = graph_.finals.data();
    draw_all(frames - 1, [&](std::int32_t) { return std::pair(finals, finals + graph_.finals.size()); }, last_.data());
    for (std::int64_t c = segments_.count - 1; c >= 0; --c) {
      const std::int64_t begin = c * segments_.length;
      const std::int64_t steps = std::min(frames - 1 - begin, segments_.length);
      if (steps == 0) continue;
      const auto [low, high] = std::minmax_element(at.begin(), at.end());
      walk_again(c, {*low, *high + 1}, steps);
      for (std::int64_t i = steps - 1; i >= 0; --i)
        draw_all(begin + i, [&](std::int32_t s) { return std::pair(arcs_.begin(s), arcs_.end(s)); }, row(i));
    }
  }

 private:
  Scaled* row(std::int64_t i) { return rows_.data() + i * graph_.states; }

  void read(std::int64_t t) {
    for (std::int64_t u = 0; u < emissions_.columns; ++u)
      factors_[static_cast<std::size_t>(u)] = split_exponential(emissions_.row(t)[u]);
  }
  const Scaled& factor(std::int64_t s) const {
    return factors_[static_cast<std::size_t>(graph_.classes[static_cast<std::size_t>(s)])];
  }

  void step(const Scaled* from, Scaled* to, const Range& range) const {
    for (std::int64_t s = range.begin; s < range.end; ++s) to[s] = sum(from, arcs_.begin(s), arcs_.end(s), factor(s));
  }

  // Fills the rows of a segment for the states from which those in `end` can be reached, `steps` frames on.
  void walk_again(std::int64_t c, const Range& end, std::int64_t steps) {
    reach_.walk_back(end, steps);
    const auto saved = saved_.begin() + c * graph_.states;
    std::copy(saved + reach_[0].begin, saved + reach_[0].end, row(0) + reach_[0].begin);
    for (std::int64_t i = 1; i <= steps; ++i) {
      read(c * segments_.length + i);
      step(row(i - 1), row(i), reach_[i]);
    }
  }

  Arcs outgoing() const {
    Arcs arcs{std::vector<std::int32_t>(arcs_.ends.size()),
              std::vector<std::int32_t>(static_cast<std::size_t>(graph_.states) + 1)};
    for (const std::int32_t source : arcs_.ends) ++arcs.offsets[static_cast<std::size_t>(source) + 1];
    for (std::size_t s = 1; s < arcs.offsets.size(); ++s) arcs.offsets[s] += arcs.offsets[s - 1];
    std::vector<std::int32_t> free(arcs.offsets);
    for (std::int64_t s = 0; s < graph_.states; ++s)
      for (const std::int32_t* arc = arcs_.begin(s); arc < arcs_.end(s); ++arc)
        arcs.ends[static_cast<std::size_t>(free[static_cast<std::size_t>(*arc)]++)] = static_cast<std::int32_t>(s);
    return arcs;
  }

  // Normalised by the frame's own sum, which is the likelihood up to rounding: rounding errors of earlier frames
  // cancel.
  void write_occupancy(const Scaled* alpha, const Scaled* beta, double* out) const {
    double top = kNothing, total = 0;
    for (std::int64_t s = 0; s < graph_.states; ++s) top = std::max(top, alpha[s].exponent + beta[s].exponent);
    for (std::int64_t s = 0; s < graph_.states; ++s) {
      const double scale = power_of_two(alpha[s].exponent + beta[s].exponent - top);
      total += out[s] = alpha[s].mantissa * beta[s].mantissa * scale;
    }
    for (std::int64_t s = 0; s < graph_.states; ++s) out[s] /= total;
  }

  // Draws a state with a probability proportional to its value: the first whose cumulative share exceeds `uniform`.
  static std::int32_t draw(const Scaled* row, const std::int32_t* begin, const std::int32_t* end, double uniform) {
    double top = kNothing, total = 0, reached = 0;
    for (const std::int32_t* arc = begin; arc < end; ++arc) top = std::max(top, row[*arc].exponent);
    const auto weight = [&](std::int32_t s) { return row[s].mantissa * power_of_two(row[s].exponent - top); };
    for (const std::int32_t* arc = begin; arc < end; ++arc) total += weight(*arc);
    std::int32_t drawn = *begin;
    for (const std::int32_t* arc = begin; arc < end; ++arc) {
      if (weight(*arc) == 0) continue;
      drawn = *arc;
      reached += weight(*arc);
      if (reached > uniform * total) break;
    }
    return drawn;
  }

  const Graph& graph_;
  const GraphEmissions& emissions_;
  const Arcs& arcs_;
  Reach reach_;
  Segments segments_;
  std::vector<Scaled> factors_;  // emissions of the frame that was read
  std::vector<Scaled> saved_, rows_, last_;
};

}  // namespace

double graph_posteriors(const Graph& graph, const GraphEmissions& emissions, double* occupancy) {
  Sums sums(graph, emissions);
  const double log_likelihood = sums.forward();
  if (log_likelihood == kNothing) {
    std::fill(occupancy, occupancy + emissions.frames * graph.states, 0.0);
  } else {
    sums.occupancy(occupancy);
  }
  return log_likelihood;
}

double sample_graph_paths(const Graph& graph, const GraphEmissions& emissions, const double* uniforms,
                          std::int64_t count, std::int64_t* states) {
  Sums sums(graph, emissions);
  const double log_likelihood = sums.forward();
  if (log_likelihood != kNothing) sums.sample(uniforms, count, states);
  return log_likelihood;
}

}  // namespace ctckit
