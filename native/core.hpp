// What the bindings need beside `run` (base/schedule.hpp): the choice of kernels, where targets lie, the reduction.
#pragma once

#include <span>
#include <string_view>

#include "base/batch.hpp"

namespace ctckit {

// The instruction sets compiled in that this processor can run, best first.
std::span<const Kernels* const> available_kernels();

const Kernels& kernels_named(std::string_view name);  // throws std::invalid_argument for one that cannot run here

// How the labels of a batch lie in memory.
struct LabelStorage {
  std::int64_t size;        // labels in all
  std::int64_t max_target;  // no target is longer; if padded, this is the distance between two targets
  bool concatenated;        // one target follows the other, without padding
};

// Finds where each item's labels start and writes it to `offsets`, which is the batch's own. Returns whether all
// lengths and labels are within bounds. Python checks them again to word the error.
bool locate_targets(const Batch& batch, const LabelStorage& storage, std::int64_t* offsets);

enum class Reduction : int { none, mean, sum };

struct LossOptions {
  bool logits;  // see `Batch`
  Reduction reduction;
  bool zero_infinity;
  bool mean_gradient;  // see `Batch`
};

// Replaces infinite losses by 0, if `zero_infinity`, and returns the reduced loss: 'mean' divides each item's loss by
// its target length (at least 1), then averages.
double reduce(const Batch& batch, const LossOptions& options);

}  // namespace ctckit
