// The places of the prefixes in a beam, and the step to the next one.
#pragma once

#include "decoding/ranking.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// Where there is no mass.
inline std::int32_t no_entry(const SearchState& s) { return static_cast<std::int32_t>(2 * s.capacity); }

// Where a prefix's mass is that it passes on by class c.
inline std::int32_t entry_from(const SearchState& s, std::int32_t parent, std::int32_t c) {
  return s.beam.last[parent] == c ? parent : static_cast<std::int32_t>(s.capacity) + parent;
}

// The place of a prefix's parent; behind all prefixes if it is not in the beam.
inline std::int32_t parent_of(const SearchState& s, std::int32_t i) {
  const std::int32_t entry = s.beam.entry[i], capacity = static_cast<std::int32_t>(s.capacity);
  return entry < capacity ? entry : entry - capacity;
}

// Lanes behind the last prefix have no mass.
inline void clear_behind(const SearchState& s, const Beam& beam, std::int32_t size) {
  store(beam.masses + size, F64{});
  store(beam.masses + s.capacity + size, F64{});
  store(beam.label + size, F64{});
  store(beam.last + size, broadcast<I32>(static_cast<std::int32_t>(s.options.classes)));
  store(beam.entry + size, broadcast<I32>(no_entry(s)));
  beam.masses[no_entry(s)] = 0;
}

// New prefixes that have come back may be the parents of prefixes that stayed.
CTCKIT_COLD inline void adopt(SearchState& s, std::int32_t news) {
  for (std::int32_t k = 0; k < news; ++k) {
    const std::int32_t at = s.news[k], node = s.beam.node[at];
    if (!s.tree->has_children(node)) continue;
    for (std::int32_t j = 0; j < s.size; ++j)
      if (s.tree->parent(s.beam.node[j]) == node) s.beam.entry[j] = entry_from(s, at, s.beam.last[j]);
  }
}

// What scorers say of the prefixes that stay, in the next beam.
inline void keep_scores(SearchState& s, std::int32_t count) {
  for (std::int32_t n = 0; n < count; ++n) {
    const std::int32_t k = s.matches[n], i = s.order[k];
    s.next.factor[k] = s.beam.factor[i];
    s.next.rest[k] = s.beam.rest[i];
    s.next.most[k] = s.beam.most[i];
    s.next.marked[k] = s.beam.marked[i];
    for (std::int64_t at = 0; at < s.scorer_count * s.capacity; at += s.capacity)
      s.next.states[at + k] = s.beam.states[at + i];
  }
  if (s.scorer_count == 1) return;
  for (std::int64_t at = 0; at < s.scorer_count * s.capacity; at += s.capacity)
    for (std::int32_t n = 0; n < count; ++n) {
      const std::int64_t k = at + s.matches[n], i = at + s.order[s.matches[n]];
      s.next.each_rest[k] = s.beam.each_rest[i];
      s.next.each_most[k] = s.beam.each_most[i];
      s.next.each_marked[k] = s.beam.each_marked[i];
    }
}

// And of the new ones.
inline void add_scores(SearchState& s, std::int32_t count) {
  advance_states(s, count);
  for (std::int32_t n = 0; n < count; n += kLanes) {
    store(s.pending_gain + n, exponential(load<F64>(s.pending_gain + n)));
    store(s.pending_most + n, exponential(load<F64>(s.pending_most + n)));
  }
  for (std::int32_t n = 0; n < count; ++n) {
    const std::int32_t k = s.news[n];
    s.next.rest[k] = s.pending_gain[n];
    s.next.most[k] = s.pending_most[n];
    s.next.marked[k] = s.pending_marked[n];
  }
  if (s.scorer_count == 1) return;
  for (std::int64_t at = 0; at < s.scorer_count * s.capacity; at += s.capacity)
    for (std::int32_t n = 0; n < count; n += kLanes) {
      const F64 rest = exponential(load<F64>(s.pending_each_rest + at + n));
      const F64 most = exponential(load<F64>(s.pending_each_most + at + n));
      for (int j = 0; j < kLanes && n + j < count; ++j) {
        s.next.each_rest[at + s.news[n + j]] = rest[j];
        s.next.each_most[at + s.news[n + j]] = most[j];
      }
    }
}

// Makes the first `count` of the ranked prefixes the beam. `spare` has the masses of those that stay.
inline void rearrange(SearchState& s, const Keys& keys, std::int32_t count) {
  const Beam &from = s.beam, &masses = s.spare, &to = s.next;
  const std::int64_t capacity = s.capacity;
  const std::int32_t size = s.size;
  std::int32_t *const order = s.order, *const moved = s.moved, *const news = s.news, *const olds = s.matches;
  std::int32_t new_count = 0, old_count = 0;
  for (std::int32_t k = 0; k < count; k += kLanes) {
    const I64 indices = keys.indices(load<F64>(s.keys + k));
    store(order + k, narrow_half(indices));
    const unsigned lanes = count - k < kLanes ? (1u << (count - k)) - 1 : ~0u >> (32 - kLanes);
    const unsigned is_old = bits_of((I64)(indices < size)) & lanes;
    compress(olds + old_count, half_of_integers(k), is_old);
    compress(news + new_count, half_of_integers(k), is_old ^ lanes);
    old_count += __builtin_popcount(is_old);
    new_count += __builtin_popcount(is_old ^ lanes);
  }
  // The new place of each entry.
  for (std::int32_t i = 0; i < size; ++i) moved[i] = moved[capacity + i] = no_entry(s);
  moved[no_entry(s)] = no_entry(s);
  for (std::int32_t n = 0; n < old_count; ++n) {
    const std::int32_t k = olds[n], i = order[k];
    moved[i] = k;
    moved[capacity + i] = static_cast<std::int32_t>(capacity) + k;
  }
  for (std::int32_t n = 0; n < old_count; ++n) {
    const std::int32_t k = olds[n], i = order[k];
    to.masses[k] = masses.masses[i];
    to.label[k] = masses.label[i];
    to.node[k] = from.node[i];
    to.last[k] = from.last[i];
    to.entry[k] = moved[from.entry[i]];
  }
  if (s.scorer_count > 0) keep_scores(s, old_count);
  bool returned = false;
  if (new_count > 0) {
    for (std::int32_t n = 0; n < new_count; ++n) {
      const std::int32_t k = news[n], q = order[k] - size, rank = s.candidates.rank[q], last = s.candidates.last[q];
      to.masses[k] = 0;
      to.label[k] = s.candidates.score[q];
      to.last[k] = last;
      to.entry[k] = moved[entry_from(s, rank, last)];
      s.new_parent[n] = from.node[rank];
      s.new_class[n] = last;
      if (s.scorer_count > 0) {
        to.factor[k] = s.candidates.factor[q];
        s.pending_rank[n] = rank;
      }
    }
    returned = s.tree->children(s.new_parent, s.new_class, new_count, s.new_node);
    for (std::int32_t n = 0; n < new_count; ++n) to.node[news[n]] = s.new_node[n];
    if (s.scorer_count > 0) add_scores(s, new_count);
  }
  if (old_count < size) {
    std::int32_t left = 0;
    for (std::int32_t i = 0; i < size; ++i) {
      order[left] = from.node[i];
      left += moved[i] == no_entry(s);
    }
    s.tree->leave(order, left);
  }
  for (std::int32_t k = 0; k < count; k += kLanes)
    store(to.masses + capacity + k, load<F64>(to.masses + k) + load<F64>(to.label + k));
  clear_behind(s, to, count);
  if (s.reading == Reading::groups) {
    s.last_groups = 0;
    for (std::int32_t k = 0; k < count; ++k) s.last_groups |= std::uint64_t{1} << (to.last[k] / kGroup);
  }
  s.size = count;
  exchange(s.beam, s.next);
  if (returned) adopt(s, new_count);
  if (s.tree->is_full()) compact(s);
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
