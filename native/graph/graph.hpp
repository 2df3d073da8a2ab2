// Paths through the graph of a pattern (src/ctckit/lattice/pattern.py): the k best, samples, and the occupancy of its
// states.
//
// A state is entered from itself and from states before it, in the order of their numbers. The recursion is that of
// CTC, over lists of arcs instead of stay, step and skip:
//
//     alpha(t, s) = y(t, s) * (sum of alpha(t-1, r) over the arcs r -> s)
//
// with the k largest terms in place of the sum (best.cpp), or with sums of probabilities (sum.cpp).
//
// No table of all frames and states is kept. The frames are cut into segments of about sqrt(frames), and the values at
// the start of each segment are saved (checkpoints). Then, from the last segment to the first, each is walked again
// from its checkpoint, and its values are kept for the walk back. The states at the end of a segment are known by then:
// only states from which these can be reached in the frames left are walked again.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "base/range.hpp"

namespace ctckit {

// The arcs between states, as a list of other ends per state.
struct Arcs {
  std::vector<std::int32_t> ends, offsets;

  const std::int32_t* begin(std::int64_t s) const { return ends.data() + offsets[static_cast<std::size_t>(s)]; }
  const std::int32_t* end(std::int64_t s) const { return ends.data() + offsets[static_cast<std::size_t>(s) + 1]; }
};

struct Graph {
  // The arcs into state s are sources[offsets[s]] and on; the first is its own. `initial` has a flag per state. Python
  // has validated them.
  Graph(std::int64_t states, const std::int64_t* classes, const std::int64_t* sources, const std::int64_t* offsets,
        const bool* initial, std::int64_t final_count, const std::int64_t* finals)
      : states(states),
        classes(classes, classes + states),
        entering{{sources, sources + offsets[states]}, {offsets, offsets + states + 1}},
        initial(initial, initial + states),
        finals(finals, finals + final_count),
        lowest(static_cast<std::size_t>(states)) {
    std::int32_t low = static_cast<std::int32_t>(states - 1);
    for (std::int64_t s = states - 1; s >= 0; --s) {
      low = std::min(low, *std::min_element(entering.begin(s), entering.end(s)));
      lowest[static_cast<std::size_t>(s)] = low;
    }
  }

  std::int64_t states;
  std::vector<std::int64_t> classes;  // of each state: a column of the emissions
  Arcs entering;
  std::vector<std::uint8_t> initial;
  std::vector<std::int32_t> finals;
  std::vector<std::int32_t> lowest;  // the lowest state from which state s or a later one is entered
};

struct GraphEmissions {
  const double* values;  // (frames, columns) contiguous; no NaN, no +infinity; at least one frame
  std::int64_t frames, columns;
  const double* row(std::int64_t t) const { return values + t * columns; }
};

// Writes the states (k, frames) and the values (k) of the k best paths, best first, and returns how many there are.
std::int64_t best_graph_paths(const Graph& graph, const GraphEmissions& emissions, std::int64_t k, std::int64_t* states,
                              double* totals);

// Writes the occupancy (frames, states), 0 if there is no path, and returns the log-likelihood.
double graph_posteriors(const Graph& graph, const GraphEmissions& emissions, double* occupancy);

// Writes the states (count, frames) of sampled paths, chosen by uniforms (count, frames) from 0 up to 1; nothing if
// there is no path. Returns the log-likelihood.
double sample_graph_paths(const Graph& graph, const GraphEmissions& emissions, const double* uniforms,
                          std::int64_t count, std::int64_t* states);

// ---- what both semirings share --------------------------------------------------------------------------------------

constexpr double kNothing = -std::numeric_limits<double>::infinity();

// Fresh values of 0xff bytes, in doubles a NaN: reading a value before it is written shows.
template <class T>
std::vector<T> unset(std::size_t count) {
  T filler;
  std::memset(&filler, 0xff, sizeof filler);
  return std::vector<T>(count, filler);
}

// How the frames are cut into segments, each with a checkpoint of its first frame.
struct Segments {
  explicit Segments(std::int64_t frames)
      : length(std::max<std::int64_t>(1, static_cast<std::int64_t>(std::sqrt(static_cast<double>(frames))))),
        count((frames - 1) / length + 1) {}
  std::int64_t length, count;  // length in frames
};

// Which states matter in the frames of a segment, given those at its end.
class Reach {
 public:
  explicit Reach(const Graph& graph) : graph_(graph) {}

  // ranges[i]: of the states in the i-th of `frames` + 1 frames, of which the last is `at_end`.
  void walk_back(Range at_end, std::int64_t frames) {
    ranges_.resize(static_cast<std::size_t>(frames) + 1);
    for (std::size_t i = ranges_.size(); i-- > 0;) {
      ranges_[i] = at_end;
      at_end.begin = graph_.lowest[static_cast<std::size_t>(at_end.begin)];
    }
  }
  const Range& operator[](std::int64_t i) const { return ranges_[static_cast<std::size_t>(i)]; }

 private:
  const Graph& graph_;
  std::vector<Range> ranges_;
};

}  // namespace ctckit
