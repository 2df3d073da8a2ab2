// Which thread computes which items of a batch.
#pragma once

#include "base/batch.hpp"

namespace ctckit {

// Computes every item, on up to `threads` threads. Items do not depend on one another: the result is bitwise the same
// for any number of threads and in any batch.
void run(const Kernels& kernels, const Batch& batch, int threads);

}  // namespace ctckit
