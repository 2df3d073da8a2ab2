// A range of positions of a target, or of states of a graph.
#pragma once

#include <cstdint>

namespace ctckit {

struct Range {
  std::int64_t begin, end;  // the end is not in it
};

// The positions in both of two ranges that overlap.
inline Range common(Range a, Range b) { return {a.begin > b.begin ? a.begin : b.begin, a.end < b.end ? a.end : b.end}; }

}  // namespace ctckit
