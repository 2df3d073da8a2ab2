// The core as the bindings see it: a batch in, numbers out.
#pragma once

#include <span>
#include <string_view>

#include "base/batch.hpp"

namespace ctckit {

// The instruction sets compiled in that this processor can run, best first.
std::span<const Kernels* const> available_kernels();

const Kernels& kernels_named(std::string_view name);  // throws std::invalid_argument for one that cannot run here

// How a batch's labels lie in memory, as far as it takes to see whether every one of them is there.
struct LabelStorage {
  std::int64_t size;        // labels in all
  std::int64_t max_target;  // no target is longer; the distance of two targets, unless
  bool concatenated;        // they lie end to end, nothing between them
};

// Finds where each item's labels start: fills in what the batch has as its `offsets`. Returns whether all lengths and
// labels are within bounds. The core computes nothing otherwise; Python finds the words.
bool locate_targets(const Batch& batch, const LabelStorage& storage, std::int64_t* offsets);

enum class Reduction : int { none, mean, sum };

// The reduced loss: 'mean' divides each item's by its target length (at least 1), then averages.
double reduce(const Batch& batch, Reduction reduction, bool zero_infinity);

// Computes every item, on up to `threads` threads. Items do not depend on one another: the result is bitwise the same
// for any number of threads and any company in the batch.
void run(const Kernels& kernels, const Batch& batch, int threads);

}  // namespace ctckit
