// Scores each class of a hypothesis by an n-gram model of classes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "decoding/scorer.hpp"
#include "language/language_model.hpp"

namespace ctckit {

class TokenScorer : public Scorer {
 public:
  // `numbers` has the model's word for each class, -1 if the model does not have it: that gains `unknown`, in nats,
  // besides what the model gives unknown words. `bonus` is gained by each class.
  TokenScorer(std::shared_ptr<const LanguageModel> model, std::vector<std::int32_t> numbers, double weight,
              double bonus, double unknown);

  State initial() override;
  void score(std::span<const State> states, std::span<const std::int32_t> classes, std::span<double> gains) override;
  void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) override;
  void finish(std::span<const State> states, std::span<double> gains) override;
  void summarise(std::span<const State> states, std::span<GainSummary> summaries) override;
  double largest_gain(std::int32_t clazz) override;

 private:
  struct Class {
    std::int32_t number;  // -1 if the model has neither the class nor an unknown word
    double gain;          // besides the model's
    double most;          // that a step gains
  };
  const Class& at(std::int32_t clazz) const {
    const auto index = static_cast<std::size_t>(clazz);
    return index + 1 < classes_.size() ? classes_[index] : classes_.back();
  }

  std::shared_ptr<const LanguageModel> model_;
  double weight_;
  std::vector<Class> classes_;  // and what holds for others
  double largest_;
};

}  // namespace ctckit
