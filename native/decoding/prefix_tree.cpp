#include "decoding/prefix_tree.hpp"

#include <algorithm>
#include <limits>

namespace ctckit {
namespace {

constexpr std::size_t kFewNodes = std::size_t{1} << 12;  // below, compaction saves nothing
constexpr std::size_t kGrowth = 4;                       // nodes per node that was kept, until the next compaction

}  // namespace

PrefixTree::PrefixTree() { reset(); }

void PrefixTree::reset() {
  limit_ = kFewNodes;
  nodes_.assign(1, {-1, -1});
  stable_.clear();
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
  std::int32_t node = nodes_[static_cast<std::size_t>(parent)].first_left;
  while (node >= 0 && nodes_[static_cast<std::size_t>(node)].clazz != clazz)
    node = nodes_[static_cast<std::size_t>(node)].next_left;
  return node;
}

std::int32_t PrefixTree::parent(std::int32_t node) const { return nodes_[static_cast<std::size_t>(node)].parent; }

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
    ++kept;
  }
  for (std::int32_t& node : beam) node = renumbered[static_cast<std::size_t>(node)];
  return kept;
}

void PrefixTree::compact(std::span<std::int32_t> beam) {
  const std::size_t kept = keep(beam, *this);
  nodes_.resize(kept);
  limit_ = std::max(kFewNodes, kGrowth * kept);
}

PrefixTree PrefixTree::part(std::span<std::int32_t> beam) const {
  PrefixTree made;
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
  return nodes_.capacity() * sizeof(Node) + stable_.capacity() * sizeof(std::int32_t);
}

}  // namespace ctckit
