// What else than the emissions a hypothesis is scored by: a language model, a bias, hotwords.
//
// A scorer gives each prefix a state, a 32-bit number, and each step from a prefix to the next class a log-gain in
// nats. It depends on the prefix alone, never on the alignment or the frame. The same protocol in Python:
// src/ctckit/decoding/scorers.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ctckit {

class Scorer {
 public:
  virtual ~Scorer() = default;
  // The state of the empty prefix.
  virtual std::int32_t initial() = 0;
  // For each pair of a state and a class: the log-gain of the step, and the next state. Gains may be -infinity.
  virtual void advance(std::span<const std::int32_t> states, std::span<const std::int32_t> classes,
                       std::span<double> gains, std::span<std::int32_t> next) = 0;
  // The log-gain of the end, for each state.
  virtual void finish(std::span<const std::int32_t> states, std::span<double> gains) = 0;
  // An upper bound of the log-gain of a step; infinity if there is none.
  virtual double largest_gain() = 0;
};

}  // namespace ctckit
