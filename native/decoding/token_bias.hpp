// A scorer that adds a fixed bias to each class: the simplest one.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "decoding/scorer.hpp"

namespace ctckit {

class TokenBias : public Scorer {
 public:
  explicit TokenBias(std::vector<double> biases) : biases_(std::move(biases)) {}

  State initial() override { return 0; }
  void score(std::int32_t clazz, std::span<const State>, std::span<double> gains) override {
    std::fill(gains.begin(), gains.end(), bias(clazz));
  }
  void advance(std::span<const State>, std::span<const std::int32_t>, std::span<State> next) override {
    std::fill(next.begin(), next.end(), State{0});
  }
  void finish(std::span<const State>, std::span<double> gains) override { std::fill(gains.begin(), gains.end(), 0.0); }
  double largest_gain() override {
    double largest = 0;
    for (const double bias : biases_) largest = std::max(largest, bias);
    return largest;
  }
  double largest_gain(std::int32_t clazz) override { return bias(clazz); }

 private:
  double bias(std::int32_t clazz) const {
    const auto at = static_cast<std::size_t>(clazz);
    return at < biases_.size() ? biases_[at] : 0;
  }

  std::vector<double> biases_;
};

}  // namespace ctckit
