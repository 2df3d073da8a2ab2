// Paths through the graph of a pattern (ctckit/pattern.py): the k best, samples, and the occupancy of its states.
//
// A state is entered from itself and from states before it in the order of their numbers. The recursion is that of CTC,
// over lists of arcs in place of stay, step and skip:
//
//     alpha(t, s) = y(t, s) * (sum of alpha(t-1, r) over the arcs r -> s)
//
// with the k largest terms in place of the sum (graph_best.cpp), or with sums of probabilities (graph_sum.cpp).
//
// No table of all frames and states is kept. The values of every so many frames are (checkpoints, about as many as
// there are frames between two); then, from the last to the first, each stretch between two of them is walked again
// from its checkpoint, and what the walk back needs is kept for this stretch only. Where the walk back stands at the
// end of the stretch is known by then: only states from which it can be reached in the frames left are walked again.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace ctckit {

// What Python hands over: validated there. The arcs into state s are sources[offsets[s]] and on; the first is its own.
struct GraphView {
  std::int64_t states;
  const std::int64_t* classes;  // column of the emissions
  const std::int64_t* sources;
  const std::int64_t* offsets;
  const bool* initial;
  const std::int64_t* finals;
  std::int64_t final_count;
};

struct GraphEmissions {
  const double* values;  // (frames, columns) contiguous; no NaN, no +infinity; at least one frame
  std::int64_t frames, columns;
  const double* row(std::int64_t t) const { return values + t * columns; }
};

// Writes the states (k, frames) and the values (k) of the k best paths, best first, and returns how many there are.
std::int64_t best_graph_paths(const GraphView& graph, const GraphEmissions& emissions, std::int64_t k,
                              std::int64_t* states, double* totals);

// Writes the occupancy (frames, states), 0 if there is no path, and returns the log-likelihood.
double graph_posteriors(const GraphView& graph, const GraphEmissions& emissions, double* occupancy);

// Writes the states (count, frames) of sampled paths, chosen by uniforms (count, frames) from 0 up to 1; nothing if
// there is no path. Returns the log-likelihood.
double sample_graph_paths(const GraphView& graph, const GraphEmissions& emissions, const double* uniforms,
                          std::int64_t count, std::int64_t* states);

// ---- what both semirings share --------------------------------------------------------------------------------------

constexpr double kNothing = -std::numeric_limits<double>::infinity();

struct Range {
  std::int64_t begin, end;
};

// Fresh values of 0xff bytes, in doubles a NaN: what is read before it is written shows.
template <class T>
std::vector<T> unset(std::size_t count) {
  T filler;
  std::memset(&filler, 0xff, sizeof filler);
  return std::vector<T>(count, filler);
}

// The arcs in half the memory.
struct Arcs {
  std::vector<std::int32_t> ends, offsets;

  const std::int32_t* begin(std::int64_t s) const { return ends.data() + offsets[static_cast<std::size_t>(s)]; }
  const std::int32_t* end(std::int64_t s) const { return ends.data() + offsets[static_cast<std::size_t>(s) + 1]; }
};

inline Arcs incoming(const GraphView& graph) {
  return {{graph.sources, graph.sources + graph.offsets[graph.states]},
          {graph.offsets, graph.offsets + graph.states + 1}};
}

// Where checkpoints are: at frame 0 and every `stretch` frames on.
struct Checkpoints {
  explicit Checkpoints(std::int64_t frames)
      : stretch(std::max<std::int64_t>(1, static_cast<std::int64_t>(std::sqrt(static_cast<double>(frames))))),
        count((frames - 1) / stretch + 1) {}
  std::int64_t stretch, count;
};

// Which states matter in the frames of a stretch, given those at its end.
class Reach {
 public:
  explicit Reach(const GraphView& graph) : lowest_(static_cast<std::size_t>(graph.states)) {
    std::int64_t low = graph.states - 1;
    for (std::int64_t s = graph.states - 1; s >= 0; --s) {
      low = std::min(low, *std::min_element(graph.sources + graph.offsets[s], graph.sources + graph.offsets[s + 1]));
      lowest_[static_cast<std::size_t>(s)] = low;
    }
  }

  // ranges[i]: of the states in the i-th of `frames` + 1 frames, of which the last is `at_end`.
  void walk_back(Range at_end, std::int64_t frames) {
    ranges_.resize(static_cast<std::size_t>(frames) + 1);
    for (std::size_t i = ranges_.size(); i-- > 0;) {
      ranges_[i] = at_end;
      at_end.begin = lowest_[static_cast<std::size_t>(at_end.begin)];
    }
  }
  const Range& operator[](std::int64_t i) const { return ranges_[static_cast<std::size_t>(i)]; }

 private:
  std::vector<std::int64_t> lowest_;  // where any state from s on can come from, at the lowest
  std::vector<Range> ranges_;
};

}  // namespace ctckit
