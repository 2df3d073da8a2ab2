#include "decoding/search.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "decoding/standard_mode.hpp"

namespace ctckit {
namespace {

constexpr std::int64_t kLine = 64;           // bytes
constexpr std::int64_t kMostPending = 4096;  // steps
constexpr std::int64_t kPadding = 16;        // numbers beyond the end of an array that a vector may touch
// Up to as many classes the probabilities of all of them take less time than those of the classes that matter.
constexpr std::int64_t kFewClasses = 128;
// Nats of a step, for which the scale of the beam has room: `LARGEST` in src/ctckit/reference/decoding.py.
constexpr double kMostGain = 75;

std::int64_t padded(std::int64_t count) { return (count + kPadding - 1) / kPadding * kPadding; }

// Arrays in one block of memory: counted first, then handed out.
class Block {
 public:
  explicit Block(std::byte* base) : base_(base) {}
  template <class T>
  T* take(std::int64_t count) {
    T* const piece = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (static_cast<std::size_t>(count + kPadding) * sizeof(T) + kLine - 1) / kLine * kLine;
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

void take_beam(Block& block, std::int64_t capacity, int scorers, Beam& beam) {
  beam.masses = block.take<double>(2 * capacity + 1);
  beam.label = block.take<double>(capacity);
  beam.node = block.take<std::int32_t>(capacity);
  beam.last = block.take<std::int32_t>(capacity);
  beam.entry = block.take<std::int32_t>(capacity);
  const std::int64_t scored = scorers > 0 ? capacity : 0;
  for (double** const array : {&beam.factor, &beam.rest, &beam.most}) *array = block.take<double>(scored);
  beam.marked = block.take<std::int64_t>(scored);
  beam.states = block.take<Scorer::State>(scorers * capacity);
  const std::int64_t each = scorers > 1 ? scorers * capacity : 0;
  for (double** const array : {&beam.each_rest, &beam.each_most}) *array = block.take<double>(each);
  beam.each_marked = block.take<std::int64_t>(each);
}

void take_candidates(Block& block, std::int64_t count, bool scored, Candidates& candidates) {
  candidates.score = block.take<double>(count);
  candidates.factor = block.take<double>(scored ? count : 0);
  candidates.rank = block.take<std::int32_t>(count);
  candidates.last = block.take<std::int32_t>(count);
}

// The beams come first: they are cleared.
void take_beams(Block& block, SearchState& s) {
  for (Beam* const beam : {&s.beam, &s.spare, &s.next}) take_beam(block, s.capacity, s.scorer_count, *beam);
}

void take_scratch(Block& block, SearchState& s) {
  const std::int64_t classes = s.options.classes, room = std::max(classes, s.capacity + s.most_candidates);
  s.probability = block.take<double>(s.reading == Reading::named ? 0 : classes);
  for (double** const array : {&s.last_probability, &s.source}) *array = block.take<double>(s.capacity);
  for (std::int32_t** const array : {&s.token, &s.found_token}) *array = block.take<std::int32_t>(classes);
  for (double** const array : {&s.token_probability, &s.found_probability}) *array = block.take<double>(classes);
  for (Candidates* const candidates : {&s.candidates, &s.other_candidates})
    take_candidates(block, s.most_candidates, s.scorer_count > 0, *candidates);
  for (double** const array : {&s.keys, &s.new_keys, &s.merged_keys, &s.sorting}) *array = block.take<double>(room);
  s.runs = block.take<std::int32_t>(room);
  s.moved = block.take<std::int32_t>(2 * s.capacity + 1);
  for (std::int32_t** const array : {&s.order, &s.news, &s.matches, &s.new_parent, &s.new_class, &s.new_node})
    *array = block.take<std::int32_t>(s.capacity);
  const std::int64_t pending = s.scorer_count > 0 ? std::max(s.capacity, kMostPending) : 0;
  s.most_pending = pending;
  for (std::int32_t** const array : {&s.pending_rank, &s.pending_class, &s.pending_token, &s.pending_entry})
    *array = block.take<std::int32_t>(pending);
  for (double** const array : {&s.pending_gain, &s.pending_most, &s.scorer_gain}) *array = block.take<double>(pending);
  s.pending_marked = block.take<std::int64_t>(pending);
  const std::int64_t scored = s.scorer_count > 0 ? s.capacity : 0;
  s.summaries = block.take<GainSummary>(scored);
  const std::int64_t each = s.scorer_count > 1 ? s.scorer_count * s.capacity : 0;
  for (double** const array : {&s.pending_each_rest, &s.pending_each_most}) *array = block.take<double>(each);
  s.children = block.take<std::int64_t>(scored);
  s.token_factor = block.take<double>(scored > 0 ? classes : 0);
  for (Scorer::State** const array : {&s.pending_state, &s.next_state}) *array = block.take<Scorer::State>(pending);
  s.class_factor = block.take<double>(s.scorer_count > 0 ? classes : 0);
  s.maxima = block.take<double>(classes);
  s.row = block.take<double>(classes);
}

Reading reading_of(const SearchOptions& options) {
  if (options.classes > std::max<std::int64_t>(kFewClasses, options.width)) return Reading::named;
  const bool has_floor = options.token_floor > 0 && !options.logits;  // (logits need the sum of all classes)
  return has_floor && options.classes <= kMostGroupedClasses ? Reading::groups : Reading::all;
}

// Less than the logarithm, by more than rounding errors.
double below_logarithm(double x) {
  const double log_x = std::log(x);
  return log_x - 1e-6 * (1 + std::fabs(log_x));
}

// Adds up the scorers' summaries of the steps from `count` prefixes of a beam, whose places `place` tells.
template <class Place>
void summarise(SearchState& s, const Beam& beam, std::int64_t count, Place place) {
  std::fill_n(s.pending_gain, count, 0.0);
  std::fill_n(s.pending_most, count, 0.0);
  std::fill_n(s.pending_marked, count, 0);
  const auto size = static_cast<std::size_t>(count);
  for (int scorer = 0; scorer < s.scorer_count; ++scorer) {
    const Scorer::State* const states = beam.states + scorer * s.capacity;
    for (std::int64_t k = 0; k < count; ++k) s.pending_state[k] = states[place(k)];
    s.scorers[scorer]->summarise({s.pending_state, size}, {s.summaries, size});
    for (std::int64_t k = 0; k < count; ++k) {
      const GainSummary& summary = s.summaries[k];
      s.pending_gain[k] += summary.rest;
      s.pending_most[k] += std::max(summary.rest, summary.most);
      s.pending_marked[k] |= static_cast<std::int64_t>(summary.marked);
    }
    if (s.scorer_count == 1) return;
    const std::int64_t first = scorer * s.capacity;
    for (std::int64_t k = 0; k < count; ++k) {
      const GainSummary& summary = s.summaries[k];
      s.pending_each_rest[first + k] = summary.rest;
      s.pending_each_most[first + k] = summary.most;
      beam.each_marked[first + place(k)] = static_cast<std::int64_t>(summary.marked);
    }
  }
}

std::string gain_error(const char* method, double gain) {
  return "the scorers' " + std::string(method) + " returned gains of " + std::to_string(gain) +
         " nats together, but they must be below 75 nats, and not NaN";
}

}  // namespace

Search::Search(const SearchOptions& options, std::vector<Scorer*> scorers, SearchMemory memory)
    : scorers_(std::move(scorers)), memory_(std::move(memory)), state_{} {
  SearchState& s = state_;
  PrefixTree& tree = memory_.tree;
  tree.reset();
  s.options = options;
  s.capacity = padded(options.width + kPadding);  // a vector may begin behind the last prefix
  s.most_candidates = padded(4 * std::int64_t{options.width} + 64);
  s.index_bits = std::bit_width(static_cast<std::uint64_t>(options.width + s.most_candidates + kPadding));
  s.token_bits = std::bit_width(static_cast<std::uint64_t>(options.classes + kPadding));
  s.reading = reading_of(options);
  if (s.reading == Reading::groups) s.least_value = below_logarithm(options.token_floor);
  s.scorers = scorers_.data();
  s.scorer_count = static_cast<int>(scorers_.size());
  for (Scorer* const scorer : scorers_) s.whole_frames |= scorer->wants_whole_frames();
  s.tree = &tree;
  Block count(nullptr);
  take_beams(count, s);
  const std::size_t beams = count.used();
  take_scratch(count, s);
  const std::size_t used = count.used();
  if (memory_.block_bytes < used + kLine) {
    memory_.block_bytes = used + kLine;
    memory_.block.reset(new std::byte[memory_.block_bytes]);
  }
  void* base = memory_.block.get();
  std::size_t space = memory_.block_bytes;
  base = std::align(kLine, used, base, space);
  Block block(static_cast<std::byte*>(base));
  std::memset(base, 0, beams);
  take_beams(block, s);
  take_scratch(block, s);

  s.size = 1;
  s.beam.masses[0] = s.beam.masses[s.capacity] = std::ldexp(1.0, 700);
  for (const Beam& beam : {s.beam, s.spare, s.next}) {  // without prefixes
    std::fill_n(beam.last, s.capacity, static_cast<std::int32_t>(options.classes));
    std::fill_n(beam.entry, s.capacity, static_cast<std::int32_t>(2 * s.capacity));
  }
  s.last_groups = 0;
  s.exponent = -700;
  s.status = SearchStatus::searching;
  if (scorers_.empty()) return;
  std::fill_n(s.class_factor, options.classes, 0.0);
  for (std::int64_t k = 0; k < s.scorer_count; ++k)
    s.beam.states[k * s.capacity] = scorers_[static_cast<std::size_t>(k)]->initial();
  summarise(s, s.beam, 1, [](std::int64_t) { return 0; });
  s.beam.most[0] = std::exp(std::max(s.pending_gain[0], s.pending_most[0]));
  s.beam.marked[0] = -1;  // (the other factors are computed by the kernels)
  if (s.scorer_count == 1) return;
  for (std::int64_t at = 0; at < s.scorer_count * s.capacity; at += s.capacity) {
    s.beam.each_most[at] = std::exp(std::max(s.pending_each_rest[at], s.pending_each_most[at]));
    s.beam.each_marked[at] = -1;
  }
}

void Search::finish() {
  SearchState& s = state_;
  if (scorers_.empty() || s.status != SearchStatus::searching) return;
  const StandardMode mode;  // masses may be subnormal numbers
  const auto size = static_cast<std::size_t>(s.size);
  std::vector<double> total(s.beam.masses + s.capacity, s.beam.masses + s.capacity + s.size), gains(size), sums(size);
  for (std::size_t k = 0; k < scorers_.size(); ++k) {
    scorers_[k]->finish({s.beam.states + k * static_cast<std::size_t>(s.capacity), size}, gains);
    for (std::size_t i = 0; i < size; ++i) sums[i] += gains[i];
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (!(sums[i] < kMostGain)) throw std::invalid_argument(gain_error("finish", sums[i]));
    total[i] *= std::exp(sums[i]);
  }
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return total[a] > total[b]; });
  while (!order.empty() && total[order.back()] == 0) order.pop_back();
  const std::vector<std::int32_t> nodes(s.beam.node, s.beam.node + s.size);
  s.size = static_cast<std::int32_t>(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    s.beam.masses[s.capacity + static_cast<std::int64_t>(i)] = total[order[i]];
    s.beam.node[i] = nodes[order[i]];
  }
  if (order.empty()) s.status = SearchStatus::no_mass;
}

double Search::log_mass(std::int32_t rank) const {
  constexpr double kLog2 = 0.693147180559945309417;
  const StandardMode mode;
  const SearchState& s = state_;
  return std::log(s.beam.masses[s.capacity + rank]) + static_cast<double>(s.exponent) * kLog2 + s.log_offset;
}

double Search::log_beam_mass() const {
  const StandardMode mode;
  const double* const total = state_.beam.masses + state_.capacity;
  double sum = 0;  // of the least first
  for (std::int32_t i = state_.size; i-- > 0;) sum += total[i];
  return log_mass(0) + std::log(sum / total[0]);
}

std::vector<std::int32_t> Search::classes(std::int32_t rank) const {
  std::vector<std::int32_t> found = tree().stable();
  tree().append_classes(state_.beam.node[rank], found);
  return found;
}

const std::vector<std::int32_t>& Search::stable() {
  compact(state_);
  return tree().stable();
}

namespace {

std::span<const Scorer::State> states_at(SearchState& s, int scorer, std::int64_t count) {
  const Scorer::State* const states = s.beam.states + scorer * s.capacity;
  for (std::int64_t k = 0; k < count; ++k) s.pending_state[k] = states[s.pending_rank[k]];
  return {s.pending_state, static_cast<std::size_t>(count)};
}

}  // namespace

void score_steps(SearchState& s, std::int64_t count) {
  const auto size = static_cast<std::size_t>(count);
  std::fill_n(s.pending_gain, count, 0.0);
  for (int scorer = 0; scorer < s.scorer_count; ++scorer) {
    s.scorers[scorer]->score(states_at(s, scorer, count), {s.pending_class, size}, {s.scorer_gain, size});
    for (std::int64_t k = 0; k < count; ++k) s.pending_gain[k] += s.scorer_gain[k];
  }
  for (std::int64_t k = 0; k < count; ++k)
    if (!(s.pending_gain[k] < kMostGain)) throw std::invalid_argument(gain_error("advance", s.pending_gain[k]));
}

void advance_states(SearchState& s, std::int64_t count) {
  const auto size = static_cast<std::size_t>(count);
  for (int scorer = 0; scorer < s.scorer_count; ++scorer) {
    s.scorers[scorer]->advance(states_at(s, scorer, count), {s.new_class, size}, {s.next_state, size});
    Scorer::State* const to = s.next.states + scorer * s.capacity;
    for (std::int64_t k = 0; k < count; ++k) to[s.news[k]] = s.next_state[k];
  }
  summarise(s, s.next, count, [&s](std::int64_t k) { return s.news[k]; });
}

double class_factor(SearchState& s, std::int32_t clazz) {
  double& factor = s.class_factor[clazz];
  if (factor == 0) {
    double gain = 0;
    for (int scorer = 0; scorer < s.scorer_count; ++scorer) gain += s.scorers[scorer]->largest_gain(clazz);
    factor = std::max(std::exp(gain), std::numeric_limits<double>::min());
  }
  return factor;
}

void compact(SearchState& s) { s.tree->compact({s.beam.node, static_cast<std::size_t>(s.size)}); }

}  // namespace ctckit
