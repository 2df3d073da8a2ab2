#include "decoding/prefix_tree.hpp"

#include <algorithm>
#include <limits>

namespace ctckit {
namespace {

constexpr std::size_t kFewNodes = std::size_t{1} << 12;  // below, compaction saves nothing
constexpr std::size_t kGrowth = 4;                       // nodes per node that was kept, until the next compaction

std::size_t hash(std::int32_t parent, std::int32_t clazz) {
  const std::uint64_t key = std::uint64_t{static_cast<std::uint32_t>(parent)} << 32 | static_cast<std::uint32_t>(clazz);
  const std::uint64_t mixed = key * 0x9E3779B97F4A7C15ull;
  return static_cast<std::size_t>(mixed ^ mixed >> 29);
}

}  // namespace

PrefixTree::PrefixTree(int scorers) : scorers_(scorers), limit_(kFewNodes) {
  rehash(256);
  add(-1, -1);
}

std::int32_t PrefixTree::add(std::int32_t parent, std::int32_t clazz) {
  const auto node = static_cast<std::int32_t>(nodes_.size());
  nodes_.push_back({parent, clazz, false});
  if (scorers_ > 0) {
    states_.resize(states_.size() + static_cast<std::size_t>(scorers_));
    gains_.push_back(std::numeric_limits<double>::quiet_NaN());
  }
  return node;
}

PrefixTree::Child PrefixTree::child(std::int32_t node, std::int32_t clazz) {
  const std::int32_t found = table_[slot_of(node, clazz)];
  if (found >= 0) return {found, nodes_[static_cast<std::size_t>(found)].has_children};
  const std::int32_t made = add(node, clazz);
  nodes_[static_cast<std::size_t>(node)].has_children = true;
  if (2 * nodes_.size() > table_.size()) {
    rehash(4 * table_.size());
  } else {
    insert(made);
  }
  return {made, false};
}

std::int32_t PrefixTree::parent(std::int32_t node) const { return nodes_[static_cast<std::size_t>(node)].parent; }

std::int32_t* PrefixTree::states(std::int32_t node) {
  return states_.data() + static_cast<std::size_t>(node) * static_cast<std::size_t>(scorers_);
}
double PrefixTree::gain(std::int32_t node) const { return gains_[static_cast<std::size_t>(node)]; }
void PrefixTree::set_gain(std::int32_t node, double gain) { gains_[static_cast<std::size_t>(node)] = gain; }

bool PrefixTree::is_full() const { return nodes_.size() > limit_; }

void PrefixTree::compact(std::span<std::int32_t> beam) {
  const std::size_t count = nodes_.size();
  std::vector<bool> in_beam(count);
  std::vector<std::int32_t> children(count);  // that are kept
  for (const std::int32_t node : beam) in_beam[static_cast<std::size_t>(node)] = true;
  // Parents have lower numbers than their children.
  for (std::size_t node = count - 1; node > 0; --node)
    if (in_beam[node] || children[node] > 0) ++children[static_cast<std::size_t>(nodes_[node].parent)];

  std::vector<std::int32_t> renumbered(count, -1);
  std::size_t kept = 0;
  bool before_root = true;  // all nodes so far have one child that is kept, and are not in the beam
  for (std::size_t node = 0; node < count; ++node) {
    if (node > 0 && !in_beam[node] && children[node] == 0) continue;
    const std::int32_t parent = nodes_[node].parent;
    if (before_root) {
      if (node > 0) stable_.push_back(nodes_[node].clazz);
      before_root = !in_beam[node] && children[node] == 1;
      if (before_root) continue;
    }
    const bool is_root = kept == 0;
    renumbered[node] = static_cast<std::int32_t>(kept);
    nodes_[kept] = {is_root ? -1 : renumbered[static_cast<std::size_t>(parent)], nodes_[node].clazz,
                    children[node] > 0};
    if (scorers_ > 0) {
      std::copy_n(states(static_cast<std::int32_t>(node)), scorers_, states(static_cast<std::int32_t>(kept)));
      gains_[kept] = gains_[node];
    }
    ++kept;
  }
  nodes_.resize(kept);
  states_.resize(kept * static_cast<std::size_t>(scorers_));
  if (scorers_ > 0) gains_.resize(kept);
  for (std::int32_t& node : beam) node = renumbered[static_cast<std::size_t>(node)];
  limit_ = std::max(kFewNodes, kGrowth * kept);
  std::size_t slots = 256;
  while (slots < 2 * kept) slots *= 4;
  rehash(slots);
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
  const Node& own = nodes_[static_cast<std::size_t>(node)];
  table_[slot_of(own.parent, own.clazz)] = node;
}

void PrefixTree::rehash(std::size_t slots) {
  table_.assign(slots, -1);
  for (std::size_t node = 1; node < nodes_.size(); ++node) insert(static_cast<std::int32_t>(node));
}

}  // namespace ctckit
