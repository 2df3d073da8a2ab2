// The k best paths through a graph. Each state keeps a list of the k largest values, best first. Each value has a
// backpointer: the arc and the place in the list that it came from, in as few bytes as possible.
#include "graph/graph.hpp"

namespace ctckit {
namespace {

// Code: an integer type for backpointers, arc * k + place in the list.
template <class Code>
class BestPaths {
 public:
  BestPaths(const Graph& graph, const GraphEmissions& emissions, std::int64_t k)
      : graph_(graph),
        emissions_(emissions),
        k_(k),
        arcs_(graph.entering),
        reach_(graph),
        segments_(emissions.frames),
        width_(static_cast<std::size_t>(graph.states * k)),
        row_(unset<double>(width_)),
        next_(unset<double>(width_)),
        saved_(unset<double>(width_ * static_cast<std::size_t>(segments_.count))),
        codes_(unset<Code>(width_ * static_cast<std::size_t>(segments_.length))) {}

  std::int64_t run(std::int64_t* states, double* totals) {
    forward();
    const std::vector<std::int32_t>& finals = graph_.finals;
    std::int64_t found = 0;
    const auto take = [&](std::int64_t f, std::int64_t place, double value) {
      totals[found] = value;
      at_.push_back({finals[static_cast<std::size_t>(f)], place});
      ++found;
    };
    merge(
        std::ssize(finals), [&](std::int64_t f) { return row_.data() + finals[static_cast<std::size_t>(f)] * k_; },
        take);
    if (found > 0) trace(states);
    return found;
  }

 private:
  struct Place {
    std::int64_t state, place;
  };

  // Merges sorted lists; of equal values the one of an earlier list comes first. Calls take(list, place, value) for
  // each of the k largest above -infinity.
  template <class Lists, class Take>
  void merge(std::int64_t count, Lists list, Take take) {
    heads_.assign(static_cast<std::size_t>(count), 0);
    for (std::int64_t r = 0; r < k_; ++r) {
      std::int64_t from = -1;
      double best = kNothing;
      for (std::int64_t a = 0; a < count; ++a) {
        const std::int64_t head = heads_[static_cast<std::size_t>(a)];
        if (head < k_ && list(a)[head] > best) {
          best = list(a)[head];
          from = a;
        }
      }
      if (from < 0) return;
      take(from, heads_[static_cast<std::size_t>(from)]++, best);
    }
  }

  double emission(const double* emissions, std::int64_t s) const {
    return emissions[graph_.classes[static_cast<std::size_t>(s)]];
  }

  void start() {
    std::fill(row_.begin(), row_.end(), kNothing);
    for (std::int64_t s = 0; s < graph_.states; ++s)
      if (graph_.initial[static_cast<std::size_t>(s)])
        row_[static_cast<std::size_t>(s * k_)] = emission(emissions_.row(0), s);
  }

  // One frame on, for a range of states. `codes`: where to write the backpointers, or null.
  void step(const double* emissions, const Range& range, Code* codes) {
    if (k_ == 1) {
      codes == nullptr ? step_one<false>(emissions, range, codes) : step_one<true>(emissions, range, codes);
    } else {
      step_lists(emissions, range, codes);
    }
    row_.swap(next_);
  }

  template <bool Keep>
  void step_one(const double* emissions, const Range& range, Code* codes) {
    const double* row = row_.data();
    double* next = next_.data();
    const std::int64_t* classes = graph_.classes.data();  // local: codes may be bytes, which may alias any member
    const std::int32_t *ends = arcs_.ends.data(), *offsets = arcs_.offsets.data();
    const std::int32_t* arc = ends + offsets[range.begin];
    for (std::int64_t s = range.begin; s < range.end; ++s) {
      const std::int32_t* const first = arc;
      const std::int32_t* const end = ends + offsets[s + 1];
      double best = row[*arc];
      std::int64_t from = 0;
      for (++arc; arc < end; ++arc) {
        const double value = row[*arc];
        if constexpr (Keep) from = value > best ? arc - first : from;
        best = value > best ? value : best;
      }
      next[s] = best + emissions[classes[s]];
      if constexpr (Keep) codes[s] = static_cast<Code>(from);
    }
  }

  void step_lists(const double* emissions, const Range& range, Code* codes) {
    for (std::int64_t s = range.begin; s < range.end; ++s) {
      const std::int32_t* const arcs = arcs_.begin(s);
      double* const to = next_.data() + s * k_;
      const double own = emission(emissions, s);
      std::int64_t count = 0;
      merge(
          arcs_.end(s) - arcs, [&](std::int64_t a) { return row_.data() + arcs[a] * k_; },
          [&](std::int64_t a, std::int64_t place, double value) {
            to[count] = value + own;
            if (codes != nullptr) codes[s * k_ + count] = static_cast<Code>(a * k_ + place);
            ++count;
          });
      std::fill(to + count, to + k_, kNothing);
    }
  }

  void forward() {
    const Range all{0, graph_.states};
    start();
    for (std::int64_t t = 0; t < emissions_.frames; ++t) {
      if (t > 0) step(emissions_.row(t), all, nullptr);
      if (t % segments_.length == 0)
        std::copy(row_.begin(), row_.end(), saved_.begin() + t / segments_.length * graph_.states * k_);
    }
  }

  void trace(std::int64_t* states) {
    const auto write = [&](std::int64_t t) {
      for (std::size_t n = 0; n < at_.size(); ++n)
        states[static_cast<std::int64_t>(n) * emissions_.frames + t] = at_[n].state;
    };
    write(emissions_.frames - 1);
    for (std::int64_t c = segments_.count - 1; c >= 0; --c) {
      const std::int64_t begin = c * segments_.length;
      const std::int64_t frames = std::min(emissions_.frames - 1 - begin, segments_.length);
      Range end{graph_.states, 0};
      for (const Place& place : at_) end = {std::min(end.begin, place.state), std::max(end.end, place.state + 1)};
      reach_.walk_back(end, frames);
      const auto saved = saved_.begin() + c * graph_.states * k_;
      std::copy(saved + reach_[0].begin * k_, saved + reach_[0].end * k_, row_.begin() + reach_[0].begin * k_);
      for (std::int64_t i = 1; i <= frames; ++i)
        step(emissions_.row(begin + i), reach_[i], codes_.data() + (i - 1) * graph_.states * k_);
      for (std::int64_t i = frames; i > 0; --i) {
        for (Place& at : at_) {
          const auto code = static_cast<std::int64_t>(
              codes_[static_cast<std::size_t>(((i - 1) * graph_.states + at.state) * k_ + at.place)]);
          at = {arcs_.begin(at.state)[code / k_], code % k_};
        }
        write(begin + i - 1);
      }
    }
  }

  const Graph& graph_;
  const GraphEmissions& emissions_;
  std::int64_t k_;
  const Arcs& arcs_;
  Reach reach_;
  Segments segments_;
  std::size_t width_;
  std::vector<double> row_, next_, saved_;
  std::vector<Code> codes_;
  std::vector<std::int64_t> heads_;
  std::vector<Place> at_;  // the state that each path is traced back to
};

}  // namespace

std::int64_t best_graph_paths(const Graph& graph, const GraphEmissions& emissions, std::int64_t k, std::int64_t* states,
                              double* totals) {
  std::int64_t most = 0;
  for (std::int64_t s = 0; s < graph.states; ++s)
    most = std::max<std::int64_t>(most, graph.entering.end(s) - graph.entering.begin(s));
  if (most * k <= 1 << 8) return BestPaths<std::uint8_t>(graph, emissions, k).run(states, totals);
  if (most * k <= 1 << 16) return BestPaths<std::uint16_t>(graph, emissions, k).run(states, totals);
  return BestPaths<std::uint32_t>(graph, emissions, k).run(states, totals);
}

}  // namespace ctckit
