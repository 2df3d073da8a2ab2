// The prefixes of a search, as a tree: a node is a prefix, its parent the prefix without the last class.
//
// A prefix that was dropped and comes back must get its old node, because prefixes that continue it may still be in the
// beam. So a child is looked up in a hash table of (parent, class). The search asks only for prefixes that it keeps.
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

  struct Child {
    std::int32_t node;
    bool has_children;  // false for a new node
  };

  explicit PrefixTree(int scorers);

  // The node of a prefix with one more class, which is made if there is none.
  Child child(std::int32_t node, std::int32_t clazz);
  std::int32_t parent(std::int32_t node) const;  // -1 for the root

  // The scorers' states of a prefix, and the sum of the log-gains of its last class. A new child has neither.
  std::int32_t* states(std::int32_t node);
  double gain(std::int32_t node) const;
  void set_gain(std::int32_t node, double gain);

  // Whether there are so many nodes that `compact` is due.
  bool is_full() const;
  // Frees all nodes that no prefix of the beam continues. The nodes of the beam get new numbers, which are written to
  // `beam`. While all prefixes of the beam agree on the root's next class, it becomes a class of `stable`.
  void compact(std::span<std::int32_t> beam);

  // The classes that all later prefixes start with: those before the root.
  const std::vector<std::int32_t>& stable() const { return stable_; }
  // Appends the classes from the root to a node.
  void append_classes(std::int32_t node, std::vector<std::int32_t>& classes) const;
  std::size_t bytes() const;

 private:
  std::int32_t add(std::int32_t parent, std::int32_t clazz);
  void insert(std::int32_t node);
  void rehash(std::size_t slots);
  std::size_t slot_of(std::int32_t parent, std::int32_t clazz) const;

  struct Node {
    std::int32_t parent, clazz;
    bool has_children;
  };
  std::vector<Node> nodes_;
  int scorers_;
  std::vector<std::int32_t> states_;  // of each node, one per scorer
  std::vector<double> gains_;         // of each node; NaN if not known; empty without scorers
  std::vector<std::int32_t> table_;   // open addressing: nodes, or -1
  std::vector<std::int32_t> stable_;
  std::size_t limit_;  // of nodes
};

}  // namespace ctckit
