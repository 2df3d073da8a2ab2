// The words of a lexicon as a tree of their spellings in classes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ctckit {

class WordTrie {
 public:
  static constexpr std::int32_t kRoot = 0;

  // Spellings one after another, with their lengths; none is empty. Spelling k is one of word k; words may be spelt
  // alike, and a word may have several numbers.
  WordTrie(std::span<const std::int32_t> classes, std::span<const std::int32_t> lengths);

  std::int32_t size() const { return static_cast<std::int32_t>(first_child_.size()) - 1; }
  std::int32_t child(std::int32_t node, std::int32_t clazz) const;  // -1 if there is none
  // The children of a node are nodes of consecutive numbers, larger than its own.
  std::int32_t first_child(std::int32_t node) const { return first_child_[static_cast<std::size_t>(node)]; }
  // The class by which a node is reached; the root's is smaller than all.
  std::int32_t symbol(std::int32_t node) const { return class_[static_cast<std::size_t>(node)]; }
  // The words that are spelt by a node.
  std::span<const std::int32_t> words(std::int32_t node) const;

 private:
  std::vector<std::int32_t> first_child_;  // and the end
  std::vector<std::int32_t> class_;        // of each node, from its parent; ascending among siblings
  std::vector<std::int32_t> first_word_;   // and the end
  std::vector<std::int32_t> words_;
  std::vector<std::uint64_t> marks_;  // of each node: bit c % 64 for each class c of a child
  bool is_narrow_;                    // all classes are below 64
};

}  // namespace ctckit
