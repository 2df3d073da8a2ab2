#include "decoding/token_scorer.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace ctckit {

TokenScorer::TokenScorer(std::shared_ptr<const LanguageModel> model, std::vector<std::int32_t> numbers, double weight,
                         double bonus, double unknown)
    : model_(std::move(model)), weight_(weight), largest_(-std::numeric_limits<double>::infinity()) {
  const LanguageModel::Facts& facts = model_->facts();
  std::vector<double> largest(static_cast<std::size_t>(facts.words));
  model_->largest(largest);
  numbers.push_back(-1);
  for (const std::int32_t number : numbers) {
    Class made{number < 0 ? facts.unknown : number, number < 0 ? bonus + unknown : bonus, 0};
    made.most = made.gain + (made.number < 0 ? 0 : weighted(weight_, largest[static_cast<std::size_t>(made.number)]));
    largest_ = std::max(largest_, made.most);
    classes_.push_back(made);
  }
}

Scorer::State TokenScorer::initial() {
  const std::int32_t begin = model_->facts().begin;
  return begin < 0 ? LanguageModel::kEmpty : model_->step(LanguageModel::kEmpty, begin).next;
}

void TokenScorer::score(std::span<const State> states, std::span<const std::int32_t> classes, std::span<double> gains) {
  for (std::size_t k = 0; k < states.size(); ++k) {
    const Class& of = at(classes[k]);
    const auto state = static_cast<std::int32_t>(states[k]);
    gains[k] = of.gain + (of.number < 0 ? 0 : weighted(weight_, model_->step(state, of.number).log_probability));
  }
}

void TokenScorer::advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) {
  for (std::size_t k = 0; k < states.size(); ++k) {
    const std::int32_t number = at(classes[k]).number;
    next[k] = number < 0 ? LanguageModel::kEmpty : model_->step(static_cast<std::int32_t>(states[k]), number).next;
  }
}

void TokenScorer::finish(std::span<const State> states, std::span<double> gains) {
  const std::int32_t end = model_->facts().end;
  for (std::size_t k = 0; k < states.size(); ++k)
    gains[k] = end < 0 ? 0 : weighted(weight_, model_->step(static_cast<std::int32_t>(states[k]), end).log_probability);
}

// Every step gains something of its own.
void TokenScorer::summarise(std::span<const State>, std::span<GainSummary> summaries) {
  std::fill(summaries.begin(), summaries.end(), GainSummary{0, largest_, ~std::uint64_t{0}});
}

double TokenScorer::largest_gain(std::int32_t clazz) { return at(clazz).most; }

}  // namespace ctckit
