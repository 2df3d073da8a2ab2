// A scorer that goes on from a state, in place of its own first one: the words before are known.
#pragma once

#include <cstdint>
#include <span>

#include "decoding/scorer.hpp"

namespace ctckit {

class ContinuedScorer : public Scorer {
 public:
  // `scorer` must live as long as this.
  ContinuedScorer(Scorer& scorer, State state) : scorer_(scorer), state_(state) {}

  State initial() override { return state_; }
  void score(std::span<const State> states, std::span<const std::int32_t> classes, std::span<double> gains) override {
    scorer_.score(states, classes, gains);
  }
  void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) override {
    scorer_.advance(states, classes, next);
  }
  void finish(std::span<const State> states, std::span<double> gains) override { scorer_.finish(states, gains); }
  void summarise(std::span<const State> states, std::span<GainSummary> summaries) override {
    scorer_.summarise(states, summaries);
  }
  double largest_gain(std::int32_t clazz) override { return scorer_.largest_gain(clazz); }
  bool wants_whole_frames() const override { return scorer_.wants_whole_frames(); }

 private:
  Scorer& scorer_;
  State state_;
};

}  // namespace ctckit
