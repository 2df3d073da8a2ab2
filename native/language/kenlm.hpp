// Models in KenLM's binary format with probing hash tables, version 5 (K. Heafield 2011).
//
// A table has the n-grams of one order, by a hash of their words from the last to the first. The words of an n-gram
// cannot be told from its hash, so the file is not converted: queries look up the file's tables. A state is a row of
// words, and gets its number when it is first reached.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <shared_mutex>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "language/language_model.hpp"

namespace ctckit {

class KenlmModel : public LanguageModel {
 public:
  static constexpr std::string_view kMagic = "mmap lm http://kheafield.com/code format version";
  static constexpr int kMostOrders = 16;

  // The file must outlive the model. Throws std::runtime_error if it is no such file, or another type of model.
  explicit KenlmModel(std::span<const std::byte> file);

  bool has_state(std::int64_t state) const override;
  Step step(std::int32_t state, std::int32_t word) const override;
  std::int32_t find(std::string_view word) const override;
  std::string_view word(std::int32_t number) const override;
  void largest(std::span<double> bounds) const override;

 private:
  // The last words, the last one first, and the back-off weights of the contexts of 1, 2, ... of them, decimal.
  struct State {
    int size = 0;
    std::array<std::uint32_t, kMostOrders> words{};
    std::array<float, kMostOrders> back_off{};
  };
  struct Weights {
    float probability, back_off;
  };
  // Entries of `stride` bytes, each a hash and what belongs to it; 0 is an empty place.
  struct Table {
    const std::byte* entries = nullptr;
    std::uint64_t places = 0;
    std::size_t stride = 0;
    const std::byte* find(std::uint64_t hash) const;  // what belongs to it; null if it is not there
  };
  class Reader;

  State state_at(std::int32_t number) const;
  std::int32_t number_of(const State& state) const;

  std::vector<std::string_view> words_;
  const std::byte* one_grams_ = nullptr;
  Table vocabulary_;
  std::vector<Table> orders_;  // of 2 words and more
  mutable std::shared_mutex mutex_;
  mutable std::deque<State> states_;                                      // by number
  mutable std::unordered_multimap<std::uint64_t, std::int32_t> numbers_;  // by a hash of the words
};

}  // namespace ctckit
