// A scorer that adds a fixed bias to each class: the simplest one.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "decoding/scorer.hpp"

namespace ctckit {

class TokenBias : public Scorer {
 public:
  explicit TokenBias(std::vector<double> biases) : biases_(std::move(biases)) {
    for (std::size_t c = 0; c < biases_.size(); ++c) {
      if (biases_[c] != 0) summary_.mark(static_cast<std::int32_t>(c));
      summary_.most = std::max(summary_.most, biases_[c]);
    }
  }

  State initial() override { return 0; }
  void score(std::span<const State>, std::span<const std::int32_t> classes, std::span<double> gains) override {
    std::transform(classes.begin(), classes.end(), gains.begin(), [this](std::int32_t clazz) { return bias(clazz); });
  }
  void advance(std::span<const State>, std::span<const std::int32_t>, std::span<State> next) override {
    std::fill(next.begin(), next.end(), State{0});
  }
  void finish(std::span<const State>, std::span<double> gains) override { std::fill(gains.begin(), gains.end(), 0.0); }
  void summarise(std::span<const State>, std::span<GainSummary> summaries) override {
    std::fill(summaries.begin(), summaries.end(), summary_);
  }
  double largest_gain(std::int32_t clazz) override { return bias(clazz); }

 private:
  double bias(std::int32_t clazz) const {
    const auto at = static_cast<std::size_t>(clazz);
    return at < biases_.size() ? biases_[at] : 0;
  }

  std::vector<double> biases_;
  GainSummary summary_{};
};

}  // namespace ctckit
