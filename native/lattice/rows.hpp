// Rows of positions, as forward_backward.hpp walks them.
#pragma once

#include "base/arena.hpp"
#include "simd/simd.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

constexpr int kPad = kLanes;  // readable, neutral positions on either side of a row

// Mantissas and exponents of blanks and labels.
struct Row {
  double *blank, *label;
  std::int64_t *blank_exponent, *label_exponent;
};

// The factors of a block of frames: 2^(exponent of the source - exponent of the destination).
struct Ratios {
  double *blank_from_label, *label_from_blank, *label_from_label;
};

// How rows of positions lie in memory: `pitch` positions apart, each from the position `first` on.
struct RowLayout {
  // Where a row's position 0 would be.
  std::int64_t row(std::int64_t row) const { return row * pitch - first; }

  std::int64_t pitch, first = 0;
};

// Takes rows that are `pitch` positions apart.
struct RowArena {
  template <class Number>
  Number* take(std::int64_t rows = 1) const {
    Number* const first = arena.take<Number>(kPad + rows * pitch);
    return first == nullptr ? nullptr : first + kPad;
  }
  Row take_states(std::int64_t rows = 1) const {
    return {take<double>(rows), take<double>(rows), take<std::int64_t>(rows), take<std::int64_t>(rows)};
  }
  Ratios take_ratios(std::int64_t blocks) const {
    return {take<double>(blocks), take<double>(blocks), take<double>(blocks)};
  }

  Arena& arena;
  std::int64_t pitch;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
