// What else than the emissions a hypothesis is scored by: a language model, a bias, hotwords.
//
// A scorer gives each prefix a state, a number, and each step from a prefix to the next class a log-gain in nats. It
// depends on the prefix alone, never on the alignment or the frame. The same protocol in Python:
// src/ctckit/decoding/scorers.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ctckit {

class Scorer {
 public:
  using State = std::int64_t;

  virtual ~Scorer() = default;
  // The state of the empty prefix.
  virtual State initial() = 0;
  // The log-gains of the steps from some states by one class. They may be -infinity.
  virtual void score(std::int32_t clazz, std::span<const State> states, std::span<double> gains) = 0;
  // The states after steps, which have been scored.
  virtual void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) = 0;
  // The log-gain of the end, for each state.
  virtual void finish(std::span<const State> states, std::span<double> gains) = 0;
  // An upper bound of the log-gain of a step; infinity if there is none.
  virtual double largest_gain() = 0;
  // The same for steps by one class.
  virtual double largest_gain(std::int32_t) { return largest_gain(); }

  // A scorer that takes long for a call is told before which steps of a frame will be scored, all at once.
  virtual bool wants_notice() const { return false; }
  virtual void notice(std::span<const State>, std::span<const std::int32_t>) {}
};

}  // namespace ctckit
