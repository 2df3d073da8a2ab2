// Decoding of a batch: each item's search, and the exact scores of its hypotheses.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core.hpp"
#include "decoding/final_beam.hpp"
#include "decoding/kernels.hpp"

namespace ctckit {

struct DecodedHypothesis {
  std::vector<std::int32_t> classes;
  double beam_score;          // log of its mass in the beam, with the scorers' gains
  double acoustic_score;      // exact, or the beam score less the gains
  std::vector<double> gains;  // of each scorer: the sum over its steps and the end
};

struct DecodedItem {
  std::unique_ptr<FinalBeam> beam;
  std::vector<DecodedHypothesis> hypotheses;  // the best first
};

struct DecodingOptions {
  SearchOptions search;
  std::int64_t hypotheses;  // at most as many are returned
  bool rescore;
};

// The hypotheses of a search that has ended.
std::vector<DecodedHypothesis> hypotheses_of(const FinalBeam& beam, const std::vector<Scorer*>& scorers,
                                             std::int64_t most);

// Items are distributed over threads; a result depends on its item alone. Scorers must allow calls from several
// threads.
std::vector<DecodedItem> decode(const Batch& batch, const DecodingOptions& options, const std::vector<Scorer*>& scorers,
                                int threads, const Kernels& kernels, const DecodingKernels& decoding);

struct GreedyItem {
  std::vector<std::int32_t> classes;
  GreedyPath path;
  double acoustic_score;  // exact, if it was asked for
};
std::vector<GreedyItem> decode_greedily(const Batch& batch, bool rescore, int threads, const Kernels& kernels,
                                        const DecodingKernels& decoding);

}  // namespace ctckit
