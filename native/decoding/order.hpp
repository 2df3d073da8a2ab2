// Sorts candidates: larger score first, then lower key. (std::sort would be compiled for one instruction set and linked
// into the code of another.)
#pragma once

#include <cstdint>

#include "decoding/search.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

inline bool comes_before(const Candidate& a, const Candidate& b) {
  return (a.score > b.score) | ((a.score == b.score) & (a.key < b.key));
}

inline void copy(const Candidate* from, std::int64_t count, Candidate* to) {
  for (std::int64_t k = 0; k < count; ++k) to[k] = from[k];
}

// Merges two sorted rows. Writes at most `most` candidates, and returns how many.
inline std::int64_t merge(const Candidate* a, std::int64_t a_count, const Candidate* b, std::int64_t b_count,
                          Candidate* to, std::int64_t most) {
  const Candidate* const a_end = a + a_count;
  const Candidate* const b_end = b + b_count;
  Candidate* const start = to;
  Candidate* const end = to + (a_count + b_count < most ? a_count + b_count : most);
  while (to != end && a != a_end && b != b_end) {
    const bool from_b = comes_before(*b, *a);
    *to++ = *(from_b ? b : a);
    a += !from_b;
    b += from_b;
  }
  while (to != end && a != a_end) *to++ = *a++;
  while (to != end && b != b_end) *to++ = *b++;
  return to - start;
}

// Sorts a row that consists of sorted runs. `starts` has the start of each run, and room for one more number. Returns
// where the sorted row is: `row` or `spare`.
inline Candidate* merge_runs(Candidate* row, std::int64_t count, std::int32_t* starts, std::int32_t runs,
                             Candidate* spare) {
  starts[runs] = static_cast<std::int32_t>(count);
  while (runs > 1) {
    std::int32_t merged = 0;
    for (std::int32_t run = 0; run < runs; run += 2) {
      const std::int32_t start = starts[run], middle = starts[run + 1], end = run + 1 < runs ? starts[run + 2] : middle;
      merge(row + start, middle - start, row + middle, end - middle, spare + start, end - start);
      starts[merged++] = start;
    }
    starts[merged] = static_cast<std::int32_t>(count);
    runs = merged;
    Candidate* const other = row;
    row = spare;
    spare = other;
  }
  return row;
}

// Sorts a row that is nearly sorted, by insertion; by merging its runs if there is too much to move.
inline Candidate* sort_nearly_sorted(Candidate* row, std::int64_t count, std::int32_t* starts, Candidate* spare) {
  std::int64_t moves = 4 * count;
  for (std::int64_t k = 1; k < count; ++k) {
    if (!comes_before(row[k], row[k - 1])) continue;
    const Candidate moved = row[k];
    std::int64_t to = k;
    do {
      row[to] = row[to - 1];
      --to;
    } while (to > 0 && comes_before(moved, row[to - 1]));
    row[to] = moved;
    moves -= k - to;
    if (moves > 0) continue;
    std::int32_t runs = 1;
    starts[0] = 0;
    for (++k; k < count; ++k)
      if (comes_before(row[k], row[k - 1])) starts[runs++] = static_cast<std::int32_t>(k);
    return merge_runs(row, count, starts, runs, spare);
  }
  return row;
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
