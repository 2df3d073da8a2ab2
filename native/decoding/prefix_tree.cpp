#include "decoding/prefix_tree.hpp"

#include <algorithm>
#include <limits>

namespace ctckit {
namespace {

constexpr std::size_t kFewNodes = std::size_t{1} << 12;  // below, compaction saves nothing
constexpr std::size_t kFewSlots = 1024;
constexpr std::size_t kGrowth = 4;  // nodes per node that was kept, until the next compaction

std::size_t hash(std::int32_t parent, std::int32_t clazz) {
  const std::uint64_t key = std::uint64_t{static_cast<std::uint32_t>(parent)} << 32 | static_cast<std::uint32_t>(clazz);
  const std::uint64_t mixed = key * 0x9E3779B97F4A7C15ull;
  return static_cast<std::size_t>(mixed ^ mixed >> 29);
}

}  // namespace

PrefixTree::PrefixTree(int scorers) { reset(scorers); }

void PrefixTree::reset(int scorers) {
  scorers_ = scorers;
  limit_ = kFewNodes;
  nodes_.assign(1, {-1, -1});
  states_.assign(static_cast<std::size_t>(scorers), 0);
  gains_.assign(scorers > 0 ? 1 : 0, std::numeric_limits<double>::quiet_NaN());
  stable_.clear();
  if (scorers > 0) rehash(kFewSlots);
}

bool PrefixTree::children(const std::int32_t* nodes, const std::int32_t* classes, std::int64_t count,
                          std::int32_t* found) {
  const std::size_t before = nodes_.size();
  nodes_.resize(before + static_cast<std::size_t>(count));
  Node* const all = nodes_.data();
  bool any = false;
  auto next = static_cast<std::int32_t>(before);
  for (std::int64_t k = 0; k < count; ++k) {
    found[k] = find(nodes[k], classes[k]);
    if (found[k] >= 0) {
      any |= all[found[k]].has_children;
      continue;
    }
    all[nodes[k]].has_children = true;
    all[next] = {nodes[k], classes[k]};
    found[k] = next++;
  }
  nodes_.resize(static_cast<std::size_t>(next));
  if (scorers_ > 0) {
    states_.resize(nodes_.size() * static_cast<std::size_t>(scorers_));
    gains_.resize(nodes_.size(), std::numeric_limits<double>::quiet_NaN());
    for (std::size_t node = before; node < nodes_.size(); ++node) insert(static_cast<std::int32_t>(node));
  }
  return any;
}

void PrefixTree::leave(const std::int32_t* nodes, std::int64_t count) {
  for (std::int64_t k = 0; k < count; ++k) {
    Node& node = nodes_[static_cast<std::size_t>(nodes[k])];
    if (!node.has_children || node.has_left || nodes[k] == kRoot) continue;
    Node& parent = nodes_[static_cast<std::size_t>(node.parent)];
    node.has_left = true;
    node.next_left = parent.first_left;
    parent.first_left = nodes[k];
  }
}

std::int32_t PrefixTree::find(std::int32_t parent, std::int32_t clazz) const {
  if (scorers_ > 0) return table_[slot_of(parent, clazz)];
  std::int32_t node = nodes_[static_cast<std::size_t>(parent)].first_left;
  while (node >= 0 && nodes_[static_cast<std::size_t>(node)].clazz != clazz)
    node = nodes_[static_cast<std::size_t>(node)].next_left;
  return node;
}

std::int32_t PrefixTree::parent(std::int32_t node) const { return nodes_[static_cast<std::size_t>(node)].parent; }

std::int32_t* PrefixTree::states(std::int32_t node) {
  return states_.data() + static_cast<std::size_t>(node) * static_cast<std::size_t>(scorers_);
}
double PrefixTree::gain(std::int32_t node) const { return gains_[static_cast<std::size_t>(node)]; }
void PrefixTree::set_gain(std::int32_t node, double gain) { gains_[static_cast<std::size_t>(node)] = gain; }

bool PrefixTree::is_full() const { return nodes_.size() > limit_; }

// Writes the nodes that the beam's prefixes continue to `to`, which may be this tree. Returns how many.
std::size_t PrefixTree::keep(std::span<std::int32_t> beam, PrefixTree& to) const {
  const std::size_t count = nodes_.size();
  std::vector<std::int32_t> children(count);  // that are kept; negative in the beam
  constexpr std::int32_t in_beam = std::numeric_limits<std::int32_t>::min();
  for (const std::int32_t node : beam) children[static_cast<std::size_t>(node)] = in_beam;
  // Parents have lower numbers than their children.
  for (std::size_t node = count - 1; node > 0; --node)
    if (children[node] != 0) ++children[static_cast<std::size_t>(nodes_[node].parent)];

  std::vector<std::int32_t> renumbered(count, -1);
  std::size_t kept = 0;
  bool before_root = true;  // all nodes so far have one child that is kept, and are not in the beam
  for (std::size_t node = 0; node < count; ++node) {
    if (node > 0 && children[node] == 0) continue;
    const Node own = nodes_[node];
    if (before_root) {
      if (node > 0) to.stable_.push_back(own.clazz);
      before_root = children[node] == 1;
      if (before_root) continue;
    }
    renumbered[node] = static_cast<std::int32_t>(kept);
    const std::int32_t parent = kept == 0 ? -1 : renumbered[static_cast<std::size_t>(own.parent)];
    const bool has_children = children[node] != 0 && children[node] != in_beam;
    Node& made = to.nodes_[kept] = {parent, own.clazz};
    made.has_children = has_children;
    made.has_left = own.has_left && parent >= 0;
    if (made.has_left) {
      Node& above = to.nodes_[static_cast<std::size_t>(parent)];
      made.next_left = above.first_left;
      above.first_left = static_cast<std::int32_t>(kept);
    }
    if (to.scorers_ > 0) {
      std::copy_n(states_.data() + node * static_cast<std::size_t>(scorers_), scorers_,
                  to.states(static_cast<std::int32_t>(kept)));
      to.gains_[kept] = gains_[node];
    }
    ++kept;
  }
  for (std::int32_t& node : beam) node = renumbered[static_cast<std::size_t>(node)];
  return kept;
}

void PrefixTree::compact(std::span<std::int32_t> beam) {
  const std::size_t kept = keep(beam, *this);
  nodes_.resize(kept);
  states_.resize(kept * static_cast<std::size_t>(scorers_));
  if (scorers_ > 0) gains_.resize(kept);
  limit_ = std::max(kFewNodes, kGrowth * kept);
  if (scorers_ == 0) return;
  std::size_t slots = kFewSlots;
  while (slots < 2 * kept) slots *= 4;
  rehash(slots);
}

PrefixTree PrefixTree::part(std::span<std::int32_t> beam) const {
  PrefixTree made;
  made.table_ = {};
  made.stable_ = stable_;
  made.nodes_.resize(nodes_.size());
  made.nodes_.resize(keep(beam, made));
  made.nodes_.shrink_to_fit();
  return made;
}

void PrefixTree::append_classes(std::int32_t node, std::vector<std::int32_t>& classes) const {
  const auto first = static_cast<std::ptrdiff_t>(classes.size());
  for (; node != kRoot; node = parent(node)) classes.push_back(nodes_[static_cast<std::size_t>(node)].clazz);
  std::reverse(classes.begin() + first, classes.end());
}

std::size_t PrefixTree::bytes() const {
  return nodes_.capacity() * sizeof(Node) + gains_.capacity() * sizeof(double) +
         (states_.capacity() + table_.capacity() + stable_.capacity()) * sizeof(std::int32_t);
}

std::size_t PrefixTree::slot_of(std::int32_t parent, std::int32_t clazz) const {
  const std::size_t last = table_.size() - 1;  // a power of two minus 1
  std::size_t slot = hash(parent, clazz) & last;
  while (table_[slot] >= 0) {
    const Node& node = nodes_[static_cast<std::size_t>(table_[slot])];
    if (node.parent == parent && node.clazz == clazz) break;
    slot = (slot + 1) & last;
  }
  return slot;
}

void PrefixTree::insert(std::int32_t node) {
  if (2 * static_cast<std::size_t>(node) > table_.size()) rehash(4 * table_.size());
  const Node& own = nodes_[static_cast<std::size_t>(node)];
  table_[slot_of(own.parent, own.clazz)] = node;
}

void PrefixTree::rehash(std::size_t slots) {
  table_.assign(slots, -1);
  for (std::size_t node = 1; node < nodes_.size(); ++node)
    table_[slot_of(nodes_[node].parent, nodes_[node].clazz)] = static_cast<std::int32_t>(node);
}

}  // namespace ctckit
