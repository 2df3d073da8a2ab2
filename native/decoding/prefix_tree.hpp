// The prefixes of a search, as a tree: a node is a prefix, its parent the prefix without the last class.
//
// A prefix that leaves the beam and comes back must get its old node if prefixes that continue it may still be in the
// beam. So every node has a list of its children that have left and have children: it is short, and seldom needed.
//
// This file is compiled once, not per instruction set: the kernels call it, and none of it is inlined into them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ctckit {

class PrefixTree {
 public:
  static constexpr std::int32_t kRoot = 0;

  PrefixTree();

  // Makes it the tree of the empty prefix alone. Memory is kept.
  void reset();

  // Writes the nodes of prefixes with one more class each, which are made unless they are found. The pairs are
  // distinct. Returns whether one of the nodes has children.
  bool children(const std::int32_t* nodes, const std::int32_t* classes, std::int64_t count, std::int32_t* found);
  // Takes notice that prefixes leave the beam.
  void leave(const std::int32_t* nodes, std::int64_t count);
  bool has_children(std::int32_t node) const { return nodes_[static_cast<std::size_t>(node)].has_children; }
  std::int32_t parent(std::int32_t node) const;  // -1 for the root

  // Whether there are so many nodes that `compact` is due.
  bool is_full() const;
  // Frees all nodes that no prefix of the beam continues. The nodes of the beam get new numbers, which are written to
  // `beam`. While all prefixes of the beam agree on the root's next class, it becomes a class of `stable`.
  void compact(std::span<std::int32_t> beam);

  // A tree of the beam's prefixes alone, with new numbers, which are written to `beam`. It makes no children.
  PrefixTree part(std::span<std::int32_t> beam) const;

  // The classes that all later prefixes start with: those before the root.
  const std::vector<std::int32_t>& stable() const { return stable_; }
  // Appends the classes from the root to a node.
  void append_classes(std::int32_t node, std::vector<std::int32_t>& classes) const;
  std::size_t bytes() const;

 private:
  std::size_t keep(std::span<std::int32_t> beam, PrefixTree& to) const;
  std::int32_t find(std::int32_t parent, std::int32_t clazz) const;

  struct Node {
    std::int32_t parent, clazz;
    std::int32_t first_left = -1, next_left = -1;  // of the list of its children that have left; of its own list
    bool has_children = false, has_left = false;
  };
  std::vector<Node> nodes_;
  std::vector<std::int32_t> stable_;
  std::size_t limit_;  // of nodes
};

}  // namespace ctckit
