// A back-off n-gram model of words, as scorers see it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ctckit {

class LanguageModel {
 public:
  struct Step {
    double log_probability;  // nats
    std::int32_t next;       // state
  };
  struct Facts {
    std::int64_t words;
    std::int32_t unknown, begin, end;   // the words <unk>, <s> and </s>; -1 without
    std::vector<std::uint64_t> counts;  // of n-grams of each order, as the source lists them
  };
  static constexpr std::int32_t kEmpty = 0;  // the state without words

  LanguageModel() = default;
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;
  virtual ~LanguageModel() = default;

  const Facts& facts() const { return facts_; }
  virtual bool has_state(std::int64_t state) const = 0;
  // From a state that exists, a word that exists. May be called by several threads.
  virtual Step step(std::int32_t state, std::int32_t word) const = 0;
  virtual std::int32_t find(std::string_view word) const = 0;  // -1 if there is none
  virtual void find_all(std::span<const std::string_view> words, std::span<std::int32_t> numbers) const {
    for (std::size_t k = 0; k < words.size(); ++k) numbers[k] = find(words[k]);
  }
  // Brings what steps over a row of words will read into the cache. Numbers may be -1.
  virtual void prefetch(std::span<const std::int32_t>) const {}
  virtual std::string_view word(std::int32_t number) const = 0;
  // Upper bounds of the log-probability of each word, in any state.
  virtual void largest(std::span<double> bounds) const = 0;

 protected:
  Facts facts_{};
};

}  // namespace ctckit
