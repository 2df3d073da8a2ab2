#include "decoding/word_scorer.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <utility>

namespace ctckit {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What words gain at their ends is asked for again and again: it is kept for the last ones, by each thread.
struct KeptEnd {
  std::uint64_t identity = 0;
  std::int64_t state = 0;
  double gain = 0;
  std::int32_t context = 0;
};
constexpr std::size_t kKept = 4096;

std::atomic<std::uint64_t> last_identity{0};

}  // namespace

WordScorer::WordScorer(std::shared_ptr<const WordTrie> trie, std::shared_ptr<const NGram> model,
                       std::vector<std::int32_t> numbers, WordOptions options)
    : trie_(std::move(trie)),
      model_(std::move(model)),
      numbers_(std::move(numbers)),
      options_(std::move(options)),
      identity_(++last_identity) {
  const auto size = static_cast<std::size_t>(trie_->size());
  std::vector<double> best(size, -kInfinity);  // of the words at and below a node: weight times the 1-gram
  largest_end_ = std::isfinite(options_.unknown) ? std::max(options_.unknown, 0.0) : 0.0;
  std::vector<double> largest(model_ ? static_cast<std::size_t>(model_->header().words) : 0, -kInfinity);
  if (model_) model_->largest(largest);
  for (std::size_t node = size; node-- > 0;) {
    const auto number = static_cast<std::int32_t>(node);
    for (const std::int32_t word : trie_->words(number)) {
      const End found = word_after(NGram::kEmpty, numbers_[static_cast<std::size_t>(word)]);
      best[node] = std::max(best[node], found.gain - options_.bonus);
    }
    for (std::int32_t child = trie_->first_child(number); child < trie_->first_child(number + 1); ++child)
      best[node] = std::max(best[node], best[static_cast<std::size_t>(child)]);
  }
  credit_.assign(size, 0);
  if (options_.lookahead && model_ && std::isfinite(best[0]))
    for (std::size_t node = 0; node < size; ++node)
      if (std::isfinite(best[node])) credit_[node] = best[node] - best[0];
  for (std::int32_t node = 0; node < trie_->size(); ++node)
    for (const std::int32_t word : trie_->words(node)) {
      const std::int32_t number = numbers_[static_cast<std::size_t>(word)];
      const double most = !model_ || number < 0 ? 0 : options_.weight * largest[static_cast<std::size_t>(number)];
      largest_end_ = std::max(largest_end_, most - credit(node));
    }
  largest_end_ += options_.bonus;
  largest_ = std::max(largest_end_, 0.0);
}

Scorer::State WordScorer::state_of(std::int32_t context, std::int32_t node) {
  return static_cast<State>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(context)) << 32 |
                            static_cast<std::uint32_t>(node));
}

bool WordScorer::is_start(std::int32_t clazz) const {
  const auto at = static_cast<std::size_t>(clazz);
  return at < options_.starts.size() && options_.starts[at];
}

Scorer::State WordScorer::initial() {
  std::int32_t context = NGram::kEmpty;
  if (model_ && model_->header().begin >= 0) context = model_->step(NGram::kEmpty, model_->header().begin).next;
  return state_of(context, WordTrie::kRoot);
}

// The gain of a class within a word.
double WordScorer::step(std::int32_t node, std::int32_t clazz) const {
  if (node == kOutside) return 0;
  const std::int32_t child = trie_->child(node, clazz);
  return child >= 0 ? credit(child) - credit(node) : options_.unknown - credit(node);
}

WordScorer::End WordScorer::word_after(std::int32_t context, std::int32_t number) const {
  if (!model_) return {options_.bonus, context};
  if (number < 0) number = model_->header().unknown;
  if (number < 0) return {options_.bonus, NGram::kEmpty};
  const NGram::Step found = model_->step(context, number);
  return {options_.weight * found.log_probability + options_.bonus, found.next};
}

WordScorer::End WordScorer::compute_end(State state) const {
  const std::int32_t context = context_of(state), node = node_of(state);
  if (node == kOutside) return word_after(context, -1);
  End best{-kInfinity, context};
  for (const std::int32_t word : trie_->words(node)) {
    const End found = word_after(context, numbers_[static_cast<std::size_t>(word)]);
    if (found.gain > best.gain) best = found;
  }
  if (trie_->words(node).empty()) {  // a word that only begins like one of the trie
    best = word_after(context, -1);
    best.gain += options_.unknown;
  }
  best.gain -= credit(node);
  return best;
}

WordScorer::End WordScorer::end(State state) const {
  thread_local std::vector<KeptEnd> kept(kKept);
  const std::uint64_t mixed = (static_cast<std::uint64_t>(state) ^ identity_) * 0x9E3779B97F4A7C15ull;
  KeptEnd& slot = kept[static_cast<std::size_t>(mixed >> 52)];
  if (slot.identity != identity_ || slot.state != state) {
    const End found = compute_end(state);
    slot = {identity_, state, found.gain, found.context};
  }
  return {slot.gain, slot.context};
}

void WordScorer::score(std::int32_t clazz, std::span<const State> states, std::span<double> gains) {
  if (clazz == options_.separator) {
    for (std::size_t k = 0; k < states.size(); ++k)
      gains[k] = node_of(states[k]) == WordTrie::kRoot ? 0 : end(states[k]).gain;
  } else if (is_start(clazz)) {
    const double start = step(WordTrie::kRoot, clazz);
    for (std::size_t k = 0; k < states.size(); ++k)
      gains[k] = (node_of(states[k]) == WordTrie::kRoot ? 0 : end(states[k]).gain) + start;
  } else {
    for (std::size_t k = 0; k < states.size(); ++k) gains[k] = step(node_of(states[k]), clazz);
  }
}

void WordScorer::advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) {
  for (std::size_t k = 0; k < states.size(); ++k) {
    std::int32_t context = context_of(states[k]), node = node_of(states[k]);
    if ((classes[k] == options_.separator || is_start(classes[k])) && node != WordTrie::kRoot) {
      context = end(states[k]).context;
      node = WordTrie::kRoot;
    }
    if (classes[k] != options_.separator) node = node == kOutside ? kOutside : trie_->child(node, classes[k]);
    next[k] = state_of(context, node);
  }
}

void WordScorer::finish(std::span<const State> states, std::span<double> gains) {
  for (std::size_t k = 0; k < states.size(); ++k) {
    End last{0, context_of(states[k])};
    if (node_of(states[k]) != WordTrie::kRoot) last = end(states[k]);
    gains[k] = last.gain;
    if (model_ && model_->header().end >= 0)
      gains[k] += options_.weight * model_->step(last.context, model_->header().end).log_probability;
  }
}

double WordScorer::largest_gain(std::int32_t clazz) {
  if (clazz == options_.separator || is_start(clazz)) return largest_;
  return 0;
}

}  // namespace ctckit
