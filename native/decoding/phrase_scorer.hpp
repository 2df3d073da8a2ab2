// Hotwords: a labelling gains the weight of each occurrence of each phrase.
//
// The phrases are an automaton of A. Aho and M. Corasick (1975). A state is a node: the longest beginning of a phrase
// that the labels so far end with. While a phrase comes, a share of its weight is credited, the potential of the node.
// It steers the search and cancels: what a finished hypothesis gains is what its phrases weigh, wherever others broke
// off.
//
// Where a vocabulary shows words, phrases are bound to them. A symbol stands for the boundary between two words: a
// phrase begins and ends with it. It is read for a separator, before a class that begins a word, and at both ends.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decoding/scorer.hpp"

namespace ctckit {

class PhraseScorer : public Scorer {
 public:
  static constexpr std::int32_t kBoundary = -1;  // in phrases

  // Phrases one after another, with their lengths and weights; of classes, and kBoundary. `starts` tells by class
  // whether a word begins with it. `separator` is -1 if there is none. `has_words`: whether boundaries are read.
  PhraseScorer(std::span<const std::int32_t> symbols, std::span<const std::int32_t> lengths,
               std::span<const double> weights, std::int32_t separator, std::vector<bool> starts, bool has_words);

  State initial() override;
  void score(std::int32_t clazz, std::span<const State> states, std::span<double> gains) override;
  void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) override;
  void finish(std::span<const State> states, std::span<double> gains) override;
  double largest_gain() override { return largest_; }
  double largest_gain(std::int32_t clazz) override;

 private:
  struct Step {
    double gain;
    std::int32_t node;
  };
  static constexpr std::int32_t kRoot = 0;
  bool is_start(std::int32_t clazz) const;
  std::int32_t child(std::int32_t node, std::int32_t symbol) const;
  Step read(std::int32_t node, std::int32_t symbol) const;
  Step step(std::int32_t node, std::int32_t clazz) const;
  double bound(std::int32_t symbol) const;

  std::int32_t separator_;
  std::vector<bool> starts_;
  bool has_words_;
  std::vector<std::int32_t> first_child_, symbol_, shorter_;  // of each node
  std::vector<double> paid_, potential_;
  std::vector<std::int32_t> of_root_;  // by symbol + 1: the root's child, or the root
  std::vector<double> bounds_;         // by symbol + 1
  double largest_ = 0;
};

}  // namespace ctckit
