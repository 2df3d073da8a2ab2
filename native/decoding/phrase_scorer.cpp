#include "decoding/phrase_scorer.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace ctckit {

PhraseScorer::PhraseScorer(std::span<const std::int32_t> symbols, std::span<const std::int32_t> lengths,
                           std::span<const double> weights, WordClasses classes)
    : trie_(symbols, lengths),
      classes_(std::move(classes)),
      has_words_(classes_.shows_words()),
      nodes_(static_cast<std::size_t>(trie_.size())) {
  std::int32_t most_symbol = kBoundary;
  for (std::int32_t node = kRoot + 1; node < trie_.size(); ++node)
    most_symbol = std::max(most_symbol, trie_.symbol(node));
  of_root_.assign(static_cast<std::size_t>(most_symbol) + 1, kRoot);
  bounds_.assign(of_root_.size(), 0);
  for (std::int32_t child = trie_.first_child(kRoot); child < trie_.first_child(kRoot + 1); ++child)
    of_root_[static_cast<std::size_t>(trie_.symbol(child))] = child;
  credit(symbols, lengths, weights);
  link();
  summarise_nodes();
}

// While a phrase comes, it is credited with the share of its classes that have been read.
void PhraseScorer::credit(std::span<const std::int32_t> symbols, std::span<const std::int32_t> lengths,
                          std::span<const double> weights) {
  std::size_t begin = 0;
  for (std::size_t k = 0; k < lengths.size(); ++k) {
    const auto phrase = symbols.subspan(begin, static_cast<std::size_t>(lengths[k]));
    begin += phrase.size();
    const auto boundaries = std::count(phrase.begin(), phrase.end(), kBoundary);
    const double classes = static_cast<double>(phrase.size()) - static_cast<double>(boundaries);
    double seen = 0;
    std::int32_t node = kRoot;
    for (std::size_t i = 0; i < phrase.size(); ++i) {
      node = trie_.child(node, phrase[i]);
      seen += phrase[i] != kBoundary;
      if (i + 1 < phrase.size()) at(node).potential = std::max(at(node).potential, weights[k] * seen / classes);
    }
    at(node).paid += weights[k];
  }
}

// Adds to each node what its suffixes pay and credit. Parents and shorter nodes have smaller numbers.
void PhraseScorer::link() {
  for (std::int32_t parent = kRoot; parent < trie_.size(); ++parent)
    for (std::int32_t node = trie_.first_child(parent); node < trie_.first_child(parent + 1); ++node) {
      const std::int32_t symbol = trie_.symbol(node);
      if (parent != kRoot) {
        std::int32_t from = at(parent).shorter, found = trie_.child(from, symbol);
        while (found < 0 && from != kRoot) {
          from = at(from).shorter;
          found = trie_.child(from, symbol);
        }
        at(node).shorter = found < 0 ? kRoot : found;
      }
      const Node& shorter = at(at(node).shorter);
      at(node).paid += shorter.paid;
      at(node).potential = std::max(at(node).potential, shorter.potential);
      double& bound = bounds_[static_cast<std::size_t>(symbol)];
      bound = std::max(bound, at(node).paid + at(node).potential - at(parent).potential);
    }
}

// The classes that continue a phrase under way are marked; others lead to the root.
void PhraseScorer::summarise_nodes() {
  struct Reach {
    std::uint64_t marked = 0;
    double most = 0;            // paid and potential after a symbol
    bool has_boundary = false;  // a phrase goes on with a boundary, or ends with it
  };
  std::vector<Reach> reaches(nodes_.size());
  for (std::int32_t node = kRoot; node < trie_.size(); ++node) {
    Reach& reach = reaches[static_cast<std::size_t>(node)];
    if (node != kRoot) reach = reaches[static_cast<std::size_t>(at(node).shorter)];
    for (std::int32_t child = trie_.first_child(node); child < trie_.first_child(node + 1); ++child) {
      const std::int32_t symbol = trie_.symbol(child);
      if (symbol != kBoundary) reach.marked |= std::uint64_t{1} << ((symbol - 1) & 63);
      reach.has_boundary |= symbol == kBoundary && node != kRoot;
      reach.most = std::max(reach.most, at(child).paid + at(child).potential);
    }
  }
  const std::uint64_t starts = classes_.marks(WordClasses::kStarts), ends = classes_.marks(WordClasses::kEnds);
  const std::uint64_t separators = classes_.marks(WordClasses::kSeparates);
  const Reach& of_word = reaches[static_cast<std::size_t>(has_words_ ? read(kRoot, kBoundary).node : kRoot)];
  for (std::int32_t node = kRoot; node < trie_.size(); ++node) {
    const Reach& reach = reaches[static_cast<std::size_t>(node)];
    GainSummary& summary = at(node).summary;
    // (A separator leads to the beginning of a word, and gains the rest, unless a phrase goes on with it, or the node
    // is after a boundary: then nothing changes.)
    const bool stays = node != kRoot && trie_.symbol(node) == kBoundary;
    summary = {-at(node).potential, reach.most - at(node).potential,
               reach.marked | (reach.has_boundary || stays ? separators : 0)};
    if (stays) summary.most = std::max(summary.most, 0.0);
    if (starts != 0 && reach.has_boundary) {
      const Step boundary = read(node, kBoundary);
      const double most = reaches[static_cast<std::size_t>(boundary.node)].most - at(boundary.node).potential;
      summary.marked |= starts;
      summary.most = std::max(summary.most, boundary.gain + most);
    } else if (starts != 0) {
      summary.marked |= of_word.marked;
      summary.most = std::max(summary.most, of_word.most - at(node).potential);
    }
    if (ends != 0) {  // after the class, a boundary
      summary.marked |= ends;
      summary.most += bound(kBoundary);
    }
  }
}

// The step by a symbol. Two boundaries in a row are one: all phrases begin with it, so a node tells whether it was read
// last.
PhraseScorer::Step PhraseScorer::read(std::int32_t node, std::int32_t symbol) const {
  if (symbol == kBoundary && node != kRoot && trie_.symbol(node) == kBoundary) return {0, node};
  std::int32_t from = node, to = -1;
  while (from != kRoot && (to = trie_.child(from, symbol)) < 0) from = at(from).shorter;
  if (from == kRoot) {
    const auto index = static_cast<std::size_t>(symbol);
    to = index < of_root_.size() ? of_root_[index] : kRoot;
  }
  return {at(to).paid + at(to).potential - at(node).potential, to};
}

PhraseScorer::Step PhraseScorer::take(std::int32_t node, std::int32_t clazz) const {
  const std::uint8_t role = classes_.role(clazz);
  if (role == 0) return read(node, clazz + 1);
  Step step{0, node};
  const auto follow = [&](std::int32_t symbol) {
    const Step next = read(step.node, symbol);
    step = {step.gain + next.gain, next.node};
  };
  if ((role & (WordClasses::kSeparates | WordClasses::kStarts)) != 0) follow(kBoundary);
  if ((role & WordClasses::kSeparates) == 0) follow(clazz + 1);
  if ((role & WordClasses::kEnds) != 0) follow(kBoundary);
  return step;
}

Scorer::State PhraseScorer::initial() { return has_words_ ? read(kRoot, kBoundary).node : kRoot; }

void PhraseScorer::score(std::span<const State> states, std::span<const std::int32_t> classes,
                         std::span<double> gains) {
  for (std::size_t k = 0; k < states.size(); ++k)
    gains[k] = take(static_cast<std::int32_t>(states[k]), classes[k]).gain;
}

void PhraseScorer::advance(std::span<const State> states, std::span<const std::int32_t> classes,
                           std::span<State> next) {
  for (std::size_t k = 0; k < states.size(); ++k) next[k] = take(static_cast<std::int32_t>(states[k]), classes[k]).node;
}

// The boundary at the end pays, and what is credited for phrases under way is taken back.
void PhraseScorer::finish(std::span<const State> states, std::span<double> gains) {
  for (std::size_t k = 0; k < states.size(); ++k) {
    Step last{0, static_cast<std::int32_t>(states[k])};
    if (has_words_) last = read(last.node, kBoundary);
    gains[k] = last.gain - at(last.node).potential;
  }
}

void PhraseScorer::summarise(std::span<const State> states, std::span<GainSummary> summaries) {
  for (std::size_t k = 0; k < states.size(); ++k) summaries[k] = at(static_cast<std::int32_t>(states[k])).summary;
}

double PhraseScorer::bound(std::int32_t symbol) const {
  const auto index = static_cast<std::size_t>(symbol);
  return index < bounds_.size() ? bounds_[index] : 0;
}

double PhraseScorer::largest_gain(std::int32_t clazz) {
  const std::uint8_t role = classes_.role(clazz);
  const int boundaries =
      ((role & (WordClasses::kSeparates | WordClasses::kStarts)) != 0) + ((role & WordClasses::kEnds) != 0);
  return ((role & WordClasses::kSeparates) != 0 ? 0 : bound(clazz + 1)) + boundaries * bound(kBoundary);
}

}  // namespace ctckit
