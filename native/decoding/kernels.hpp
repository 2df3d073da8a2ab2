// The kernels of decoding of one instruction set, as plain functions.
#pragma once

#include <string_view>

#include "base/batch.hpp"
#include "decoding/search.hpp"

namespace ctckit {

struct GreedyPath {
  std::int64_t count;      // of the classes, without repeats and blanks
  double score;            // log-probability of the path
  double log_normalisers;  // of logits
  SearchStatus status;
  std::int64_t frame;  // that has ended it, or that no class is possible in
};

// Of a batch only the emissions and the input lengths are read, its blank and `logits`.
struct DecodingKernels {
  const char* name;
  // Steps of a search: frames [begin, end) of item n, until it ends.
  void (*advance)(SearchState& state, const Batch& batch, std::int64_t n, std::int64_t begin, std::int64_t end);
  // Writes at most as many classes as item n has frames. `buffer` has room for a row of doubles.
  GreedyPath (*greedy)(const Batch& batch, std::int64_t n, std::int32_t* classes, void* buffer);
  // The sums of each frame's probabilities.
  FrameSums (*sum_frames)(const Batch& batch, std::int64_t n, void* buffer);
  // Writes the emissions of some classes of item n, (frames, count), as doubles. With a buffer for a row of doubles
  // they are logits, and the frame's log-normaliser is subtracted.
  void (*gather)(const Batch& batch, std::int64_t n, const std::int64_t* classes, std::int64_t count, double* out,
                 void* buffer);
  double (*exponential)(double x);
};

const DecodingKernels& decoding_kernels_named(std::string_view name);

}  // namespace ctckit
