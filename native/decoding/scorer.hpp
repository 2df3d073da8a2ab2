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

// What is known of the log-gains of all steps from a state. Where bit c % 64 of `marked` is 0, the step by class c
// gains `rest`; elsewhere it gains `most` at the most.
struct GainSummary {
  double rest, most;
  std::uint64_t marked;
  void mark(std::int32_t clazz) { marked |= std::uint64_t{1} << (clazz & 63); }
};

// What a model's log-probability gains. A model without weight forbids nothing: 0 times -infinity is 0 here.
inline double weighted(double weight, double log_probability) { return weight == 0 ? 0 : weight * log_probability; }

class Scorer {
 public:
  using State = std::int64_t;

  virtual ~Scorer() = default;
  // The state of the empty prefix.
  virtual State initial() = 0;
  // The log-gains of steps: from a state by a class each. They may be -infinity.
  virtual void score(std::span<const State> states, std::span<const std::int32_t> classes, std::span<double> gains) = 0;
  // The states after steps, which have been scored.
  virtual void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) = 0;
  // The log-gain of the end, for each state.
  virtual void finish(std::span<const State> states, std::span<double> gains) = 0;
  // Summaries of the steps from some states. A search looks at few steps but those that are marked.
  virtual void summarise(std::span<const State> states, std::span<GainSummary> summaries) = 0;
  // An upper bound of the log-gain of a step by one class; infinity if there is none.
  virtual double largest_gain(std::int32_t clazz) = 0;
  // Whether a call takes so long that all steps of a frame are to be scored by one.
  virtual bool wants_whole_frames() const { return false; }
};

}  // namespace ctckit
