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

  std::int32_t initial() override { return 0; }
  void advance(std::span<const std::int32_t>, std::span<const std::int32_t> classes, std::span<double> gains,
               std::span<std::int32_t> next) override {
    for (std::size_t k = 0; k < classes.size(); ++k) {
      const auto clazz = static_cast<std::size_t>(classes[k]);
      gains[k] = clazz < biases_.size() ? biases_[clazz] : 0;
      next[k] = 0;
    }
  }
  void finish(std::span<const std::int32_t>, std::span<double> gains) override {
    std::fill(gains.begin(), gains.end(), 0.0);
  }
  double largest_gain() override {
    double largest = 0;
    for (const double bias : biases_) largest = std::max(largest, bias);
    return largest;
  }

 private:
  std::vector<double> biases_;
};

}  // namespace ctckit
