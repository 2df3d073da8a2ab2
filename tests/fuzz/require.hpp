// What a fuzz target says when something does not hold.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ctckit {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace ctckit
