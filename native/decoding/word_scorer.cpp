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
// Lookahead costs no word more nats than that: a step takes all of it back, and must gain less than 75.
constexpr double kMostCost = 25;

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

WordScorer::WordScorer(std::shared_ptr<const WordTrie> trie, std::shared_ptr<const LanguageModel> model,
                       std::vector<std::int32_t> numbers, WordClasses classes, WordOptions options)
    : trie_(std::move(trie)),
      model_(std::move(model)),
      numbers_(std::move(numbers)),
      classes_(std::move(classes)),
      options_(options),
      identity_(++last_identity) {
  const auto size = static_cast<std::size_t>(trie_->size());
  std::vector<double> best(size, -kInfinity);  // of the words at and below a node: weight times the 1-gram
  std::vector<double> largest(model_ ? static_cast<std::size_t>(model_->facts().words) : 0, -kInfinity);
  if (model_) model_->largest(largest);
  for (std::size_t node = size; node-- > 0;) {
    const auto number = static_cast<std::int32_t>(node);
    for (const std::int32_t word : trie_->words(number)) {
      best[node] = std::max(best[node], end_of(LanguageModel::kEmpty, word).gain - options_.bonus);
    }
    for (std::int32_t child = trie_->first_child(number); child < trie_->first_child(number + 1); ++child)
      best[node] = std::max(best[node], best[static_cast<std::size_t>(child)]);
  }
  credit_.assign(size, 0);
  if (options_.lookahead && model_ && std::isfinite(best[0]))
    for (std::size_t node = 0; node < size; ++node) credit_[node] = std::max(best[node] - best[0], -kMostCost);
  for (std::int32_t node = kOutside; node < trie_->size(); ++node)
    if (node != WordTrie::kRoot) largest_end_ = std::max(largest_end_, largest_end(node, largest));
  for (const double credit : credit_) largest_step_ = std::max(largest_step_, options_.unknown - credit);
  largest_start_ = options_.unknown;  // (the root's credit is 0)
  for (std::int32_t child = trie_->first_child(WordTrie::kRoot); child < trie_->first_child(WordTrie::kRoot + 1);
       ++child)
    largest_start_ = std::max(largest_start_, credit(child));
  for (std::int32_t node = 0; node < trie_->size(); ++node) summaries_.push_back(summary_of(node, largest));
  summaries_.push_back(summary_of(kOutside, largest));
}

// An upper bound of what a word that ends in a node gains, in any context. `largest` has the models' log-probabilities.
double WordScorer::largest_end(std::int32_t node, std::span<const double> largest) const {
  const auto most_of = [&](std::int32_t number) {
    if (model_ && number < 0) number = model_->facts().unknown;
    return !model_ || number < 0 ? 0 : weighted(options_.weight, largest[static_cast<std::size_t>(number)]);
  };
  if (node == kOutside) return most_of(-1) + options_.bonus;
  double most = -kInfinity;
  for (const std::int32_t word : trie_->words(node))
    most = std::max(most, most_of(numbers_[static_cast<std::size_t>(word)]) + missing(word));
  if (trie_->words(node).empty()) most = options_.unknown + most_of(-1);
  return most + options_.bonus - credit(node);
}

// Steps by the children of a node are marked, and those that begin or end a word.
GainSummary WordScorer::summary_of(std::int32_t node, std::span<const double> largest) const {
  const std::uint64_t starts = classes_.marks(WordClasses::kStarts), ends = classes_.marks(WordClasses::kEnds),
                      separators = classes_.marks(WordClasses::kSeparates);
  const bool is_outside = node == kOutside;
  const double end = node == WordTrie::kRoot ? 0 : largest_end(node, largest);
  GainSummary summary{is_outside ? 0 : options_.unknown - credit(node), -kInfinity, separators | starts | ends};
  if (!is_outside)
    for (std::int32_t child = trie_->first_child(node); child < trie_->first_child(node + 1); ++child) {
      summary.mark(trie_->symbol(child));
      summary.most = std::max(summary.most, credit(child) - credit(node));
    }
  summary.most = std::max(summary.most, summary.rest);  // classes that share a bit with one that is marked
  if (starts != 0) summary.most = std::max(summary.most, end + largest_start_);
  if (ends != 0) summary.most += std::max(largest_end_, 0.0);
  if (separators != 0) summary.most = std::max(summary.most, end);
  return summary;
}

void WordScorer::summarise(std::span<const State> states, std::span<GainSummary> summaries) {
  for (std::size_t k = 0; k < states.size(); ++k) {
    const std::int32_t node = node_of(states[k]);
    summaries[k] = summaries_[node == kOutside ? summaries_.size() - 1 : static_cast<std::size_t>(node)];
  }
}

Scorer::State WordScorer::state_of(std::int32_t context, std::int32_t node) {
  return static_cast<State>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(context)) << 32 |
                            static_cast<std::uint32_t>(node));
}

Scorer::State WordScorer::initial() {
  std::int32_t context = LanguageModel::kEmpty;
  if (model_ && options_.sentences && model_->facts().begin >= 0)
    context = model_->step(LanguageModel::kEmpty, model_->facts().begin).next;
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
  if (number < 0) number = model_->facts().unknown;
  if (number < 0) return {options_.bonus, LanguageModel::kEmpty};
  const LanguageModel::Step found = model_->step(context, number);
  return {weighted(options_.weight, found.log_probability) + options_.bonus, found.next};
}

double WordScorer::missing(std::int32_t word) const {
  const bool is_missing = model_ && numbers_[static_cast<std::size_t>(word)] < 0 && model_->facts().unknown < 0;
  return is_missing ? options_.missing : 0;
}

// The end of a word of the trie.
WordScorer::End WordScorer::end_of(std::int32_t context, std::int32_t word) const {
  End end = word_after(context, numbers_[static_cast<std::size_t>(word)]);
  end.gain += missing(word);
  return end;
}

WordScorer::End WordScorer::compute_end(State state) const {
  const std::int32_t context = context_of(state), node = node_of(state);
  if (node == kOutside) return word_after(context, -1);
  End best{-kInfinity, context};
  for (const std::int32_t word : trie_->words(node)) {
    const End found = end_of(context, word);
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

WordScorer::Step WordScorer::take(State state, std::int32_t clazz) const {
  const std::uint8_t role = classes_.role(clazz);
  double gain = 0;
  if ((role & (WordClasses::kSeparates | WordClasses::kStarts)) != 0 && node_of(state) != WordTrie::kRoot) {
    const End last = end(state);
    gain = last.gain;
    state = state_of(last.context, WordTrie::kRoot);
  }
  if ((role & WordClasses::kSeparates) != 0) return {gain, state};
  const std::int32_t node = node_of(state);
  gain += step(node, clazz);
  state = state_of(context_of(state), node == kOutside ? kOutside : trie_->child(node, clazz));
  if ((role & WordClasses::kEnds) == 0) return {gain, state};
  const End last = end(state);
  return {gain + last.gain, state_of(last.context, WordTrie::kRoot)};
}

void WordScorer::score(std::span<const State> states, std::span<const std::int32_t> classes, std::span<double> gains) {
  for (std::size_t k = 0; k < states.size(); ++k)
    gains[k] = classes_.role(classes[k]) == 0 ? step(node_of(states[k]), classes[k]) : take(states[k], classes[k]).gain;
}

void WordScorer::advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) {
  for (std::size_t k = 0; k < states.size(); ++k) next[k] = take(states[k], classes[k]).next;
}

void WordScorer::finish(std::span<const State> states, std::span<double> gains) {
  for (std::size_t k = 0; k < states.size(); ++k) {
    End last{0, context_of(states[k])};
    if (node_of(states[k]) != WordTrie::kRoot) last = end(states[k]);
    gains[k] = last.gain;
    if (model_ && options_.sentences && model_->facts().end >= 0)
      gains[k] += weighted(options_.weight, model_->step(last.context, model_->facts().end).log_probability);
  }
}

double WordScorer::largest_gain(std::int32_t clazz) {
  const std::uint8_t role = classes_.role(clazz);
  const int ends =
      ((role & (WordClasses::kSeparates | WordClasses::kStarts)) != 0) + ((role & WordClasses::kEnds) != 0);
  return ((role & WordClasses::kSeparates) != 0 ? 0 : largest_step_) + ends * largest_end_;
}

}  // namespace ctckit
