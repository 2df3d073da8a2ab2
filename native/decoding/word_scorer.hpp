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
#include "decoding/word_classes.hpp"
#include "language/language_model.hpp"
#include "language/word_trie.hpp"

namespace ctckit {

struct WordOptions {
  double weight;   // of the model's log-probabilities
  double bonus;    // of each word, nats
  double unknown;  // of a word that is not in the trie, nats; -infinity for none
  bool lookahead = true;
  bool sentences = true;  // the words are a sentence: they follow <s>, and </s> follows them
  double missing = 0;     // of a word of the trie that a model without <unk> does not have, nats
};

class WordScorer : public Scorer {
 public:
  // `numbers` has the model's word for each spelling of the trie, -1 if the model does not have it. Without a model,
  // words gain their bonus alone.
  WordScorer(std::shared_ptr<const WordTrie> trie, std::shared_ptr<const LanguageModel> model,
             std::vector<std::int32_t> numbers, WordClasses classes, WordOptions options);

  bool has_context(std::int32_t context) const { return model_ ? model_->has_state(context) : context == 0; }
  // The state before a word, in a context of the model.
  static State state_in(std::int32_t context) { return state_of(context, WordTrie::kRoot); }

  State initial() override;
  void score(std::span<const State> states, std::span<const std::int32_t> classes, std::span<double> gains) override;
  void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) override;
  void finish(std::span<const State> states, std::span<double> gains) override;
  void summarise(std::span<const State> states, std::span<GainSummary> summaries) override;
  double largest_gain(std::int32_t clazz) override;

 private:
  static constexpr std::int32_t kOutside = -1;  // the node of a word that is not in the trie
  struct Step {
    double gain;
    State next;
  };
  struct End {
    double gain;
    std::int32_t context;
  };
  static State state_of(std::int32_t context, std::int32_t node);
  static std::int32_t context_of(State state) { return static_cast<std::int32_t>(state >> 32); }
  static std::int32_t node_of(State state) { return static_cast<std::int32_t>(state); }
  Step take(State state, std::int32_t clazz) const;
  double credit(std::int32_t node) const { return credit_[static_cast<std::size_t>(node)]; }
  double step(std::int32_t node, std::int32_t clazz) const;
  End end(State state) const;
  End compute_end(State state) const;
  End word_after(std::int32_t context, std::int32_t number) const;
  End end_of(std::int32_t context, std::int32_t word) const;
  double missing(std::int32_t word) const;
  double largest_end(std::int32_t node, std::span<const double> largest) const;
  GainSummary summary_of(std::int32_t node, std::span<const double> largest) const;

  std::shared_ptr<const WordTrie> trie_;
  std::shared_ptr<const LanguageModel> model_;
  std::vector<std::int32_t> numbers_;
  WordClasses classes_;
  WordOptions options_;
  std::vector<double> credit_;                                 // of each node: what lookahead has given so far
  std::vector<GainSummary> summaries_;                         // of each node, then of words that are not in the trie
  double largest_step_ = 0, largest_end_ = 0, largest_start_;  // bounds, the first two at least 0: see largest_gain
  std::uint64_t identity_;
};

}  // namespace ctckit
