// What the classes of a vocabulary say of words: where they begin and end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ctckit {

class WordClasses {
 public:
  enum Role : std::uint8_t {
    kSeparates = 1,  // stands between words, and is part of none
    kStarts = 2,     // begins a word
    kEnds = 4,       // ends a word
  };

  // The roles of each class; classes beyond the last have none.
  explicit WordClasses(std::vector<std::uint8_t> roles) : roles_(std::move(roles)) {}

  bool separates(std::int32_t clazz) const { return (role(clazz) & kSeparates) != 0; }
  bool starts(std::int32_t clazz) const { return (role(clazz) & kStarts) != 0; }
  bool ends(std::int32_t clazz) const { return (role(clazz) & kEnds) != 0; }
  std::uint8_t role(std::int32_t clazz) const {
    const auto at = static_cast<std::size_t>(clazz);
    return at < roles_.size() ? roles_[at] : 0;
  }
  // Bit c % 64 for each class c of a role, as in `GainSummary`.
  std::uint64_t marks(Role role) const {
    std::uint64_t marks = 0;
    for (std::size_t c = 0; c < roles_.size(); ++c)
      if ((roles_[c] & role) != 0) marks |= std::uint64_t{1} << (c & 63);
    return marks;
  }
  // Whether any class has a role: else the vocabulary does not show words.
  bool shows_words() const {
    return std::any_of(roles_.begin(), roles_.end(), [](std::uint8_t role) { return role != 0; });
  }

 private:
  std::vector<std::uint8_t> roles_;
};

}  // namespace ctckit
