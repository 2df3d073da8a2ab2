#include "decoding/phrase_scorer.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "language/word_trie.hpp"

namespace ctckit {

PhraseScorer::PhraseScorer(std::span<const std::int32_t> symbols, std::span<const std::int32_t> lengths,
                           std::span<const double> weights, std::int32_t separator, std::vector<bool> starts,
                           bool has_words)
    : separator_(separator), starts_(std::move(starts)), has_words_(has_words) {
  const WordTrie trie(symbols, lengths);
  const auto size = static_cast<std::size_t>(trie.size());
  std::vector<std::int32_t> parent(size, -1);
  std::int32_t most_symbol = kBoundary;
  for (std::int32_t node = 0; node < trie.size(); ++node) {
    first_child_.push_back(trie.first_child(node));
    symbol_.push_back(trie.symbol(node));
    if (node != kRoot) most_symbol = std::max(most_symbol, trie.symbol(node));
    for (std::int32_t c = trie.first_child(node); c < trie.first_child(node + 1); ++c)
      parent[static_cast<std::size_t>(c)] = node;
  }
  first_child_.push_back(trie.size());
  paid_.assign(size, 0);
  potential_.assign(size, 0);
  shorter_.assign(size, kRoot);
  of_root_.assign(static_cast<std::size_t>(most_symbol) + 2, kRoot);
  bounds_.assign(of_root_.size(), 0);
  for (std::int32_t c = trie.first_child(kRoot); c < trie.first_child(kRoot + 1); ++c)
    of_root_[static_cast<std::size_t>(trie.symbol(c) + 1)] = c;

  // A phrase's share of the classes read so far.
  std::size_t begin = 0;
  for (std::size_t k = 0; k < lengths.size(); ++k) {
    const auto phrase = symbols.subspan(begin, static_cast<std::size_t>(lengths[k]));
    begin += phrase.size();
    const auto classes =
        static_cast<double>(phrase.size()) - static_cast<double>(std::count(phrase.begin(), phrase.end(), kBoundary));
    double seen = 0;
    std::int32_t node = kRoot;
    for (std::size_t i = 0; i < phrase.size(); ++i) {
      node = trie.child(node, phrase[i]);
      seen += phrase[i] != kBoundary;
      double& potential = potential_[static_cast<std::size_t>(node)];
      if (i + 1 < phrase.size()) potential = std::max(potential, weights[k] * seen / classes);
    }
    paid_[static_cast<std::size_t>(node)] += weights[k];
  }
  // Parents, and shorter nodes, have smaller numbers.
  for (std::size_t node = 1; node < size; ++node) {
    if (parent[node] != kRoot) {
      std::int32_t from = shorter_[static_cast<std::size_t>(parent[node])], found = child(from, symbol_[node]);
      while (found < 0 && from != kRoot) {
        from = shorter_[static_cast<std::size_t>(from)];
        found = child(from, symbol_[node]);
      }
      shorter_[node] = found < 0 ? kRoot : found;
    }
    const auto shorter = static_cast<std::size_t>(shorter_[node]);
    paid_[node] += paid_[shorter];
    potential_[node] = std::max(potential_[node], potential_[shorter]);
    double& bound = bounds_[static_cast<std::size_t>(symbol_[node] + 1)];
    bound = std::max(bound, paid_[node] + potential_[node] - potential_[static_cast<std::size_t>(parent[node])]);
  }
  const double of_boundary = has_words_ ? bounds_[0] : 0;
  for (const double bound : bounds_) largest_ = std::max(largest_, bound + of_boundary);
}

bool PhraseScorer::is_start(std::int32_t clazz) const {
  const auto at = static_cast<std::size_t>(clazz);
  return at < starts_.size() && starts_[at];
}

std::int32_t PhraseScorer::child(std::int32_t node, std::int32_t symbol) const {
  const auto at = static_cast<std::size_t>(node);
  const auto begin = symbol_.begin() + first_child_[at], end = symbol_.begin() + first_child_[at + 1];
  const auto found = std::lower_bound(begin, end, symbol);
  return found != end && *found == symbol ? static_cast<std::int32_t>(found - symbol_.begin()) : -1;
}

PhraseScorer::Step PhraseScorer::read(std::int32_t node, std::int32_t symbol) const {
  // Two boundaries in a row are one: all phrases begin with it, so a node tells whether it was read last.
  if (symbol == kBoundary && symbol_[static_cast<std::size_t>(node)] == kBoundary) return {0, node};
  std::int32_t from = node, to = -1;
  while (from != kRoot && (to = child(from, symbol)) < 0) from = shorter_[static_cast<std::size_t>(from)];
  if (from == kRoot) {
    const auto at = static_cast<std::size_t>(symbol + 1);
    to = at < of_root_.size() ? of_root_[at] : kRoot;
  }
  const auto at = static_cast<std::size_t>(to);
  return {paid_[at] + potential_[at] - potential_[static_cast<std::size_t>(node)], to};
}

PhraseScorer::Step PhraseScorer::step(std::int32_t node, std::int32_t clazz) const {
  if (!has_words_) return read(node, clazz);
  if (clazz == separator_) return read(node, kBoundary);
  if (!is_start(clazz)) return read(node, clazz);
  const Step boundary = read(node, kBoundary), last = read(boundary.node, clazz);
  return {boundary.gain + last.gain, last.node};
}

Scorer::State PhraseScorer::initial() { return has_words_ ? read(kRoot, kBoundary).node : kRoot; }

void PhraseScorer::score(std::int32_t clazz, std::span<const State> states, std::span<double> gains) {
  for (std::size_t k = 0; k < states.size(); ++k) gains[k] = step(static_cast<std::int32_t>(states[k]), clazz).gain;
}

void PhraseScorer::advance(std::span<const State> states, std::span<const std::int32_t> classes,
                           std::span<State> next) {
  for (std::size_t k = 0; k < states.size(); ++k) next[k] = step(static_cast<std::int32_t>(states[k]), classes[k]).node;
}

// The boundary at the end pays, and what is credited for phrases under way is taken back.
void PhraseScorer::finish(std::span<const State> states, std::span<double> gains) {
  for (std::size_t k = 0; k < states.size(); ++k) {
    Step last{0, static_cast<std::int32_t>(states[k])};
    if (has_words_) last = read(last.node, kBoundary);
    gains[k] = last.gain - potential_[static_cast<std::size_t>(last.node)];
  }
}

double PhraseScorer::bound(std::int32_t symbol) const {
  const auto at = static_cast<std::size_t>(symbol + 1);
  return at < bounds_.size() ? bounds_[at] : 0;
}

double PhraseScorer::largest_gain(std::int32_t clazz) {
  if (has_words_ && clazz == separator_) return bound(kBoundary);
  return bound(clazz) + (has_words_ && is_start(clazz) ? bound(kBoundary) : 0);
}

}  // namespace ctckit
