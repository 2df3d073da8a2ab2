// Hotwords: a labelling gains the weight of each occurrence of each phrase.
//
// The phrases are an automaton of A. Aho and M. Corasick (1975). A state is a node: the longest beginning of a phrase
// that the labels so far end with. While a phrase comes, a share of its weight is credited, the potential of the node.
// It steers the search and cancels: what a finished hypothesis gains is what its phrases weigh, wherever others broke
// off.
//
// Where a vocabulary shows words, phrases are bound to them. A symbol stands for the boundary between two words: a
// phrase begins and ends with it. It is read for a separator, before a class that begins a word, after a class that
// ends one, and at both ends of a labelling.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decoding/scorer.hpp"
#include "decoding/word_classes.hpp"
#include "language/word_trie.hpp"

namespace ctckit {

class PhraseScorer : public Scorer {
 public:
  // In phrases; symbol c + 1 stands for class c.
  static constexpr std::int32_t kBoundary = 0;

  // Phrases one after another, with their lengths and weights.
  PhraseScorer(std::span<const std::int32_t> symbols, std::span<const std::int32_t> lengths,
               std::span<const double> weights, WordClasses classes);

  State initial() override;
  void score(std::span<const State> states, std::span<const std::int32_t> classes, std::span<double> gains) override;
  void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) override;
  void finish(std::span<const State> states, std::span<double> gains) override;
  void summarise(std::span<const State> states, std::span<GainSummary> summaries) override;
  double largest_gain(std::int32_t clazz) override;

 private:
  static constexpr std::int32_t kRoot = WordTrie::kRoot;
  struct Node {
    std::int32_t shorter = kRoot;    // the node of the longest proper suffix that is one
    double paid = 0, potential = 0;  // the weights of phrases that end here; what is credited
    GainSummary summary{};
  };
  struct Step {
    double gain;
    std::int32_t node;
  };
  Node& at(std::int32_t node) { return nodes_[static_cast<std::size_t>(node)]; }
  const Node& at(std::int32_t node) const { return nodes_[static_cast<std::size_t>(node)]; }
  Step read(std::int32_t node, std::int32_t symbol) const;
  Step take(std::int32_t node, std::int32_t clazz) const;
  double bound(std::int32_t symbol) const;
  void credit(std::span<const std::int32_t> symbols, std::span<const std::int32_t> lengths,
              std::span<const double> weights);
  void link();
  void summarise_nodes();

  WordTrie trie_;
  WordClasses classes_;
  bool has_words_;
  std::vector<Node> nodes_;
  std::vector<std::int32_t> of_root_;  // by symbol: the root's child, or the root
  std::vector<double> bounds_;         // by symbol: the most that a step by it gains
};

}  // namespace ctckit
