// Scores the words of a hypothesis: by an n-gram model, a lexicon, or both.
//
// A state is a context of the model and a node of the trie of spellings: how far the current word has come. A word is
// scored when it ends. Before, the best word that can still follow is credited (lookahead), and taken back at the end:
// what the words of a finished hypothesis gain does not depend on it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "decoding/scorer.hpp"
#include "language/ngram.hpp"
#include "language/word_trie.hpp"

namespace ctckit {

struct WordOptions {
  double weight;             // of the model's log-probabilities
  double bonus;              // of each word, nats
  double unknown;            // of a word that is not in the trie, nats; -infinity for none
  std::int32_t separator;    // the class between two words; -1 if words begin with classes of their own
  std::vector<bool> starts;  // by class: whether a word begins with it, without a separator
  bool lookahead = true;
};

class WordScorer : public Scorer {
 public:
  // `numbers` has the model's word for each spelling of the trie, -1 if the model does not have it. Without a model,
  // words gain their bonus alone.
  WordScorer(std::shared_ptr<const WordTrie> trie, std::shared_ptr<const NGram> model,
             std::vector<std::int32_t> numbers, WordOptions options);

  State initial() override;
  void score(std::int32_t clazz, std::span<const State> states, std::span<double> gains) override;
  void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) override;
  void finish(std::span<const State> states, std::span<double> gains) override;
  double largest_gain() override { return largest_; }
  double largest_gain(std::int32_t clazz) override;

 private:
  static constexpr std::int32_t kOutside = -1;  // the node of a word that is not in the trie
  struct End {
    double gain;
    std::int32_t context;
  };
  static State state_of(std::int32_t context, std::int32_t node);
  static std::int32_t context_of(State state) { return static_cast<std::int32_t>(state >> 32); }
  static std::int32_t node_of(State state) { return static_cast<std::int32_t>(state); }
  bool is_start(std::int32_t clazz) const;
  double credit(std::int32_t node) const { return credit_[static_cast<std::size_t>(node)]; }
  double step(std::int32_t node, std::int32_t clazz) const;
  End end(State state) const;
  End compute_end(State state) const;
  End word_after(std::int32_t context, std::int32_t number) const;

  std::shared_ptr<const WordTrie> trie_;
  std::shared_ptr<const NGram> model_;
  std::vector<std::int32_t> numbers_;
  WordOptions options_;
  std::vector<double> credit_;  // of each node: what lookahead has given so far
  double largest_end_, largest_;
  std::uint64_t identity_;
};

}  // namespace ctckit
