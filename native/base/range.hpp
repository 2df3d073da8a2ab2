// A range of positions of a target, or of states of a graph.
#pragma once

#include <cstdint>

namespace ctckit {

struct Range {
  std::int64_t begin, end;  // the end is not in it
};

}  // namespace ctckit
