// A scorer that is written in Python: an object that src/ctckit/decoding/scorers.py has wrapped. It is called with the
// GIL, for many steps at once, and once for each step.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

#include "decoding/scorer.hpp"

namespace ctckit {

class PythonScorer : public Scorer {
 public:
  explicit PythonScorer(nanobind::object object) : object_(std::move(object)) {}
  ~PythonScorer() override {
    const nanobind::gil_scoped_acquire gil;
    object_.reset();
  }

  State initial() override {
    known_.clear();
    const nanobind::gil_scoped_acquire gil;
    largest_ = nanobind::cast<double>(object_.attr("largest_gain")());
    return nanobind::cast<std::int32_t>(object_.attr("initial")());
  }
  void score(std::span<const State> states, std::span<const std::int32_t> classes, std::span<double> gains) override {
    if (known_.size() > kMostKnown) known_.clear();
    ask(states, classes);
    for (std::size_t k = 0; k < states.size(); ++k) gains[k] = known_.at(key_of(states[k], classes[k])).gain;
  }
  void advance(std::span<const State> states, std::span<const std::int32_t> classes, std::span<State> next) override {
    ask(states, classes);
    for (std::size_t k = 0; k < states.size(); ++k) next[k] = known_.at(key_of(states[k], classes[k])).next;
  }
  void finish(std::span<const State> states, std::span<double> gains) override {
    const nanobind::gil_scoped_acquire gil;
    copy_to<double>(object_.attr("finish")(array_of(std::vector<std::int32_t>(states.begin(), states.end()))), gains);
  }
  // Any step may gain anything up to the bound.
  void summarise(std::span<const State>, std::span<GainSummary> summaries) override {
    std::fill(summaries.begin(), summaries.end(), GainSummary{0, largest_, ~std::uint64_t{0}});
  }
  double largest_gain(std::int32_t) override { return largest_; }
  bool wants_whole_frames() const override { return true; }

 private:
  static constexpr std::size_t kMostKnown = std::size_t{1} << 20;
  struct Step {
    double gain;
    std::int32_t next;
  };

  static std::uint64_t key_of(State state, std::int32_t clazz) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(state)) << 32 | static_cast<std::uint32_t>(clazz);
  }

  // Asks for the steps that are not known.
  void ask(std::span<const State> states, std::span<const std::int32_t> classes) {
    std::vector<std::uint64_t> keys;
    std::vector<std::int32_t> from, by;
    for (std::size_t k = 0; k < states.size(); ++k) {
      const std::uint64_t key = key_of(states[k], classes[k]);
      if (!known_.try_emplace(key).second) continue;
      keys.push_back(key);
      from.push_back(static_cast<std::int32_t>(states[k]));
      by.push_back(classes[k]);
    }
    if (keys.empty()) return;
    std::vector<double> gains(keys.size());
    std::vector<std::int32_t> next(keys.size());
    try {
      const nanobind::gil_scoped_acquire gil;
      const auto result = nanobind::cast<nanobind::tuple>(object_.attr("advance")(array_of(from), array_of(by)));
      copy_to<double>(result[0], gains);
      copy_to<std::int32_t>(result[1], next);
    } catch (...) {
      for (const std::uint64_t key : keys) known_.erase(key);
      throw;
    }
    for (std::size_t k = 0; k < keys.size(); ++k) known_[keys[k]] = {gains[k], next[k]};
  }

  template <class T>
  static nanobind::object array_of(std::vector<T> values) {
    auto kept = std::make_unique<std::vector<T>>(std::move(values));
    T* const data = kept->data();
    const std::size_t size = kept->size();
    const nanobind::capsule owner(kept.release(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nanobind::cast(
        nanobind::ndarray<nanobind::numpy, T, nanobind::ndim<1>, nanobind::c_contig>(data, {size}, owner));
  }
  template <class T>
  static void copy_to(nanobind::handle values, std::span<T> to) {
    using Values = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
    const auto array = nanobind::cast<Values>(values);
    if (array.shape(0) != to.size()) throw std::invalid_argument("a scorer returned a wrong number of values");
    std::copy_n(array.data(), to.size(), to.data());
  }

  nanobind::object object_;
  std::unordered_map<std::uint64_t, Step> known_;  // by state and class
  double largest_ = 0;                             // as it was said last
};

}  // namespace ctckit
