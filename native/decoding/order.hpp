// Sorts scores, the largest first, by vectors. (std::sort would be compiled for one instruction set and linked into the
// code of another.)
//
// A key is a score whose low bits have given way to the score's index, so that one positive double holds both. Keys are
// sorted as doubles. Scores that differ in the low bits only are put in order afterwards: see `order_ties`. Rows are
// padded to whole vectors with 0, which is below all keys.
#pragma once

#include <bit>
#include <cstdint>

#include "decoding/compress.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

// Makes keys of scores, and reads their indices. Of equal scores the lower index gives the larger key.
class Keys {
 public:
  explicit Keys(int index_bits) : mask_((std::int64_t{1} << index_bits) - 1) {}

  // Of scores with the indices `first` and following.
  F64 of(F64 scores, std::int64_t first) const {
    return (F64)(((I64)scores & ~mask_) | (mask_ - long_integers(first)));
  }
  std::int32_t index(double key) const {
    return static_cast<std::int32_t>(mask_ - (std::bit_cast<std::int64_t>(key) & mask_));
  }
  I64 indices(F64 keys) const { return mask_ - ((I64)keys & mask_); }
  // The least score that a key may be of.
  double least(double key) const { return std::bit_cast<double>(std::bit_cast<std::int64_t>(key) & ~mask_); }
  bool are_close(double a, double b) const {
    return ((std::bit_cast<std::int64_t>(a) ^ std::bit_cast<std::int64_t>(b)) & ~mask_) == 0;
  }
  // Whether a row of sorted keys has neighbours whose scores differ in the low bits at most.
  bool has_close(const double* row, std::int64_t count) const {
    I64 close{};
    std::int64_t k = 0;
    for (; k + kLanes < count; k += kLanes)
      close |= (((I64)load<F64>(row + k) ^ (I64)load<F64>(row + k + 1)) & ~mask_) == 0;
    bool found = any_lane(close);
    for (; k + 1 < count; ++k) found |= are_close(row[k], row[k + 1]);
    return found;
  }

 private:
  std::int64_t mask_;
};

// ------------------------------------------------------------------------------------------------------ vectors of
// keys

// Of each two lanes at a distance, the larger goes to the lower lane; in every second block to the upper one.
template <int kBlock, int kDistance, std::size_t... Lane>
inline F64 exchange(F64 v, std::index_sequence<Lane...>) {
  const F64 other = __builtin_shufflevector(v, v, (static_cast<int>(Lane) ^ kDistance)...);
  const F64 high = larger(v, other), low = smaller(v, other);
  constexpr auto source = [](int lane) {
    return ((lane & kDistance) == 0) == ((lane & kBlock) == 0) ? lane : kLanes + lane;
  };
  return __builtin_shufflevector(high, low, source(static_cast<int>(Lane))...);
}

// Sorts a vector that rises and then falls, or falls and then rises (of blocks: each).
template <int kBlock = kLanes, int kDistance = kBlock / 2>
inline F64 sort_bitonic(F64 v) {
  v = exchange<kBlock, kDistance>(v, std::make_index_sequence<kLanes>{});
  if constexpr (kDistance > 1) v = sort_bitonic<kBlock, kDistance / 2>(v);
  return v;
}

template <int kBlock = 2>
inline F64 sort_lanes(F64 v) {
  v = sort_bitonic<kBlock>(v);
  if constexpr (kBlock < kLanes) v = sort_lanes<2 * kBlock>(v);
  return v;
}

template <std::size_t... Lane>
inline F64 reversed(F64 v, std::index_sequence<Lane...>) {
  return __builtin_shufflevector(v, v, (kLanes - 1 - static_cast<int>(Lane))...);
}

// Merges two sorted vectors: a gets the larger half.
inline void merge_vectors(F64& a, F64& b) {
  const F64 other = reversed(b, std::make_index_sequence<kLanes>{});
  b = sort_bitonic(smaller(a, other));
  a = sort_bitonic(larger(a, other));
}

// --------------------------------------------------------------------------------------------------------- rows of
// keys

constexpr std::int64_t padded_to_vectors(std::int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

inline void pad(double* row, std::int64_t count) { store(row + count, F64{}); }  // (rows have room for a vector more)

// Merges two sorted rows of whole vectors.
inline void merge(const double* a, const double* a_end, const double* b, const double* b_end, double* to) {
  for (; a != a_end && b != b_end && a[kLanes - 1] >= *b; a += kLanes, to += kLanes) store(to, load<F64>(a));
  if (a == a_end || b == b_end) {
    for (; a != a_end; a += kLanes, to += kLanes) store(to, load<F64>(a));
    for (; b != b_end; b += kLanes, to += kLanes) store(to, load<F64>(b));
    return;
  }
  F64 kept = load<F64>(a);
  a += kLanes;
  F64 next = load<F64>(b);
  b += kLanes;
  for (;;) {
    merge_vectors(kept, next);
    store(to, kept);
    to += kLanes;
    kept = next;
    if (a == a_end || b == b_end) break;
    const bool from_b = *b > *a;
    next = load<F64>(from_b ? b : a);
    a += from_b ? 0 : kLanes;
    b += from_b ? kLanes : 0;
  }
  const double* rest = a == a_end ? b : a;
  const double* const end = a == a_end ? b_end : a_end;
  for (; rest != end; rest += kLanes, to += kLanes) {
    next = load<F64>(rest);
    merge_vectors(kept, next);
    store(to, kept);
    kept = next;
  }
  store(to, kept);
}

// Sorts a row that consists of sorted runs of whole vectors, and pads it. `starts` has the start of each run, and room
// for one more number. Returns where the sorted row is: `row` or `spare`.
inline double* merge_runs(double* row, std::int64_t count, std::int32_t* starts, std::int32_t runs, double* spare) {
  starts[runs] = static_cast<std::int32_t>(padded_to_vectors(count));
  while (runs > 1) {
    std::int32_t merged = 0;
    for (std::int32_t run = 0; run < runs; run += 2) {
      const std::int32_t start = starts[run], middle = starts[run + 1], end = run + 1 < runs ? starts[run + 2] : middle;
      merge(row + start, row + middle, row + middle, row + end, spare + start);
      starts[merged++] = start;
    }
    starts[merged] = static_cast<std::int32_t>(padded_to_vectors(count));
    runs = merged;
    double* const other = row;
    row = spare;
    spare = other;
  }
  return row;
}

// Sorts each vector of a padded row.
inline void sort_vectors(double* row, std::int64_t count) {
  for (std::int64_t k = 0; k < count; k += kLanes) store(row + k, sort_lanes(load<F64>(row + k)));
}

// Sorts a padded row of sorted vectors, from vector `from` on; those before are in order.
inline double* merge_sorted_vectors(double* row, std::int64_t count, std::int64_t from, std::int32_t* starts,
                                    double* spare) {
  std::int32_t runs = 1;
  starts[0] = 0;
  for (std::int64_t k = from; k < count; k += kLanes)
    if (k > 0 && row[k] > row[k - 1]) starts[runs++] = static_cast<std::int32_t>(k);
  return merge_runs(row, count, starts, runs, spare);
}

// Sorts a row. Returns where the sorted row is: `row` or `spare`.
inline double* sort(double* row, std::int64_t count, std::int32_t* starts, double* spare) {
  pad(row, count);
  sort_vectors(row, count);
  return merge_sorted_vectors(row, count, kLanes, starts, spare);
}

// The same for a row that is nearly sorted: by insertion of vectors, as long as there is not too much to move.
inline double* sort_nearly_sorted(double* row, std::int64_t count, std::int32_t* starts, double* spare) {
  pad(row, count);
  sort_vectors(row, count);
  std::int64_t moves = 4 * (count / kLanes + 1);
  for (std::int64_t k = kLanes; k < count; k += kLanes) {
    if (!(row[k] > row[k - 1])) continue;
    F64 moved = load<F64>(row + k);
    std::int64_t to = k;
    do {
      F64 before = load<F64>(row + to - kLanes);
      merge_vectors(before, moved);
      store(row + to, moved);
      moved = before;
      to -= kLanes;
      --moves;
    } while (to > 0 && moved[0] > row[to - 1]);
    store(row + to, moved);
    if (moves <= 0) return merge_sorted_vectors(row, count, k + kLanes, starts, spare);
  }
  return row;
}

// Puts the scores of sorted keys that differ in the low bits only in order. `comes_before` compares indices.
template <class Before>
CTCKIT_COLD void order_ties(const Keys& keys, double* row, std::int64_t count, Before comes_before) {
  for (std::int64_t start = 0, end = 0; start < count; start = end) {
    for (end = start + 1; end < count && keys.are_close(row[start], row[end]);) ++end;
    std::int64_t gap = 1;
    while (gap < (end - start) / 3) gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3) {
      for (std::int64_t k = start + gap; k < end; ++k) {
        const double moved = row[k];
        std::int64_t to = k;
        for (; to - gap >= start && comes_before(keys.index(moved), keys.index(row[to - gap])); to -= gap)
          row[to] = row[to - gap];
        row[to] = moved;
      }
    }
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
