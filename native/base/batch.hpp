// The inputs and outputs of a batch, as plain data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ctckit {

enum class DType : int { float16, bfloat16, float32, float64 };

// The values that are written per frame and class: none, the derivative of the loss, or the occupancy.
enum class Output : int { none, gradient, occupancy };

// Whether the walk of a best path may leave out what cannot be on it. The result is the same.
enum class Pruning : int { never, if_it_pays, always };

struct Strides {  // in elements
  std::int64_t frame, item, clazz;
};

// The best path of each item, (items, frames) contiguous. Frames beyond an item's length get the blank, state -1 and a
// score of 0. So do all frames of an item without a path or with a NaN, with a score of -infinity or NaN.
struct PathOutput {
  std::int64_t* classes;
  std::int64_t* states;           // 2s of the blank before label s (or after the last), 2s + 1 of label s
  void* scores;                   // log-probability of the frame's class, of the emissions' dtype
  std::int64_t checkpoint_bytes;  // the most memory of a level of checkpoints; eight of them are always allowed
  Pruning pruning;
};

// A batch: label s of item n is labels[offsets[n] + s]. All of it is validated before.
struct Batch {
  DType dtype;
  const void* emissions;  // (frames, items, classes), any strides
  Strides strides;
  std::int64_t frames, items, classes;

  const std::int64_t* labels;
  const std::int64_t* offsets;
  const std::int64_t* input_lengths;
  const std::int64_t* target_lengths;
  std::int64_t blank;

  bool logits;  // normalise each frame over its classes (log_softmax) first
  bool
      mean_gradient;  // the gradient is that of the mean over the batch of loss / max(target length, 1), not of the sum

  double* nll;  // (items): negative log-likelihood in nats; inf where no path exists, NaN where the item holds a NaN

  Output output;
  void* out;  // (frames, items, classes) of dtype, class stride 1; may be the emissions' own memory
  Strides out_strides;

  void* state_occupancy;  // null, or (frames, items, state_width) contiguous, of dtype: blank, label 1, blank, label 2,
                          // ...
  std::int64_t state_width;

  const std::int64_t* path_states;  // null, or (items, frames) contiguous: a state of each frame, or negative for none,
  void* path_occupancy;             // and the occupancy of these alone, likewise, of dtype

  double band_budget = -1;  // of the way back (loss/band.hpp), for any target; negative: as dtype and target need it
  std::int64_t most_planned = std::int64_t{2} << 30;  // bytes for all positions, from which Plan::sure is for fewer
  double* lost = nullptr;  // null, or (items): the part of each item's probability that has been left out

  PathOutput path = {};  // if not null, compute the best path; nll is minus its score
};

// How much memory an item gets. A long item is first planned for a model that is sure of it.
enum class Plan : int { sure, whole };

// The kernels of one instruction set. `scratch_bytes` is the size of the scratch memory that `run_item` needs for item
// n; it depends only on the item's lengths and the plan. `bytes` is the size of the memory at `scratch`. `run_item`
// returns false if the plan was too small; then it has written nothing.
struct Kernels {
  const char* name;
  std::size_t (*scratch_bytes)(const Batch&, std::int64_t n, Plan plan);
  bool (*run_item)(const Batch&, std::int64_t n, Plan plan, std::byte* scratch, std::size_t bytes);
};

}  // namespace ctckit
