// Makes the image of an n-gram model from its n-grams, in any order within those of one length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "language/ngram.hpp"

namespace ctckit {

class NGramBuilder {
 public:
  NGramBuilder();

  // Begins the n-grams of the next length, about so many.
  void begin_order(std::uint64_t expected);
  // Adds a word with its log-probability and back-off weight, in nats. Returns false if it is there already.
  bool add_word(std::string_view word, double log_probability, double back_off);
  // Adds an n-gram of words.
  void add(std::span<const std::uint32_t> words, double log_probability, double back_off);
  std::int64_t find(std::string_view word) const;  // -1 if it is no word

  int order() const { return static_cast<int>(sections_.size()); }
  std::uint64_t count() const;  // of the last length
  std::uint64_t words() const { return text_begin_.size() - 1; }

  // Throws std::runtime_error for an n-gram that is there twice.
  std::vector<std::byte> build();

 private:
  // The n-grams of one length, as they were added; then those that are only the beginning of others.
  struct Section {
    std::vector<std::uint32_t> words;
    std::vector<float> log_probability, back_off;
    std::uint64_t listed = 0;
  };
  // The same, sorted by their beginnings, of which each has its place in the level before, and then by the last word.
  struct Level {
    std::vector<std::uint32_t> parent, word, source;
    std::vector<std::uint32_t> first_child;  // in the next level, and the end
  };

  std::size_t size(std::size_t level) const { return sections_[level].log_probability.size(); }
  std::int64_t child(std::size_t level, std::uint32_t parent, std::uint32_t word) const;
  bool make_level(std::size_t level);
  void sort_level(std::size_t level, std::vector<std::uint64_t>& keys);
  std::string text_of(std::size_t level, std::size_t source) const;
  std::string_view word(std::uint32_t number) const;
  void grow_slots(std::size_t count);

  std::vector<Section> sections_;
  std::vector<Level> levels_;
  std::string text_;
  std::vector<std::uint32_t> text_begin_{0};
  std::vector<std::uint32_t> slots_;
};

}  // namespace ctckit
