#include "language/word_trie.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>
#include <numeric>

namespace ctckit {

WordTrie::WordTrie(std::span<const std::int32_t> classes, std::span<const std::int32_t> lengths) {
  const std::size_t count = lengths.size();
  std::vector<std::size_t> begin(count + 1);
  for (std::size_t k = 0; k < count; ++k) begin[k + 1] = begin[k] + static_cast<std::size_t>(lengths[k]);
  const auto spelling = [&](std::size_t k) { return classes.subspan(begin[k], begin[k + 1] - begin[k]); };
  std::vector<std::int32_t> sorted(count);
  std::iota(sorted.begin(), sorted.end(), 0);
  std::stable_sort(sorted.begin(), sorted.end(), [&](std::int32_t a, std::int32_t b) {
    const auto x = spelling(static_cast<std::size_t>(a)), y = spelling(static_cast<std::size_t>(b));
    return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
  });
  // Level by level: a node is a range of spellings that begin alike.
  struct Range {
    std::size_t begin, end;
  };
  std::vector<Range> level{{0, count}};
  class_.push_back(std::numeric_limits<std::int32_t>::min());
  for (std::size_t depth = 0; !level.empty(); ++depth) {
    std::vector<Range> next;
    const std::size_t base = class_.size();
    for (const Range& range : level) {
      first_child_.push_back(static_cast<std::int32_t>(base + next.size()));
      first_word_.push_back(static_cast<std::int32_t>(words_.size()));
      std::size_t k = range.begin;
      for (; k < range.end && static_cast<std::size_t>(lengths[static_cast<std::size_t>(sorted[k])]) == depth; ++k)
        words_.push_back(sorted[k]);  // shorter ones come first
      while (k < range.end) {
        const std::int32_t clazz = spelling(static_cast<std::size_t>(sorted[k]))[depth];
        const std::size_t first = k;
        while (k < range.end && spelling(static_cast<std::size_t>(sorted[k]))[depth] == clazz) ++k;
        class_.push_back(clazz);
        next.push_back({first, k});
      }
    }
    level = std::move(next);
  }
  first_child_.push_back(static_cast<std::int32_t>(class_.size()));
  first_word_.push_back(static_cast<std::int32_t>(words_.size()));
  is_narrow_ = std::all_of(classes.begin(), classes.end(), [](std::int32_t c) { return c < 64; });
  marks_.assign(static_cast<std::size_t>(size()), 0);
  for (std::int32_t node = 0; node < size(); ++node)
    for (std::int32_t child = first_child(node); child < first_child(node + 1); ++child)
      marks_[static_cast<std::size_t>(node)] |= std::uint64_t{1} << (symbol(child) & 63);
}

std::int32_t WordTrie::child(std::int32_t node, std::int32_t clazz) const {
  const std::uint64_t marks = marks_[static_cast<std::size_t>(node)];
  if ((marks >> (clazz & 63) & 1) == 0) return -1;
  if (is_narrow_ && clazz < 64) return first_child(node) + std::popcount(marks & ((std::uint64_t{1} << clazz) - 1));
  const auto begin = class_.begin() + first_child_[static_cast<std::size_t>(node)];
  const auto end = class_.begin() + first_child_[static_cast<std::size_t>(node) + 1];
  const auto found = std::lower_bound(begin, end, clazz);
  return found != end && *found == clazz ? static_cast<std::int32_t>(found - class_.begin()) : -1;
}

std::span<const std::int32_t> WordTrie::words(std::int32_t node) const {
  const auto at = static_cast<std::size_t>(node);
  const auto begin = static_cast<std::size_t>(first_word_[at]), end = static_cast<std::size_t>(first_word_[at + 1]);
  return std::span(words_).subspan(begin, end - begin);
}

}  // namespace ctckit
