// What is left of a search when it has ended: the prefixes of its beam and their masses.
#pragma once

#include <cstdint>
#include <vector>

#include "base/batch.hpp"
#include "core.hpp"
#include "decoding/kernels.hpp"
#include "decoding/prefix_tree.hpp"
#include "decoding/search.hpp"

namespace ctckit {

// A proof that no labelling has more probability than the best one, or why there is none.
struct Certificate {
  bool is_normalised;  // whether every frame's probabilities add up to 1, within the tolerance
  double log_total;    // of the probability of all labellings together
  double lost;         // the share of it that no prefix of the beam has
  bool is_proved;
};

class FinalBeam {
 public:
  // Takes the prefixes of a search, which must have ended by `finish`.
  explicit FinalBeam(const Search& search);

  std::int64_t size() const { return static_cast<std::int64_t>(nodes_.size()); }
  std::vector<std::int32_t> classes(std::int64_t rank) const;
  double log_mass(std::int64_t rank) const { return log_masses_[static_cast<std::size_t>(rank)]; }
  double log_beam_mass() const { return log_beam_mass_; }

  SearchStatus status() const { return status_; }
  std::int64_t frames() const { return frames_; }  // before the one that has ended the search early
  double log_normalisers() const { return log_normalisers_; }

  // The search was without scorers, and item n is the one searched. `exact` has the log-likelihoods of the first
  // prefixes, or more of them; the log-likelihoods of others are computed as they are needed.
  Certificate certify(const Batch& batch, std::int64_t n, std::vector<double> exact, double tolerance,
                      const Kernels& kernels, const DecodingKernels& decoding) const;

 private:
  std::vector<std::int32_t> nodes_;
  PrefixTree tree_;
  std::vector<double> log_masses_;
  SearchStatus status_;
  double log_beam_mass_;
  std::int64_t frames_;
  double log_normalisers_;
  bool has_sums_;
  FrameSums sums_;
};

// The log-likelihoods of labellings of item n, in nats, by the forward recursion of the loss.
std::vector<double> log_likelihoods(const Batch& batch, std::int64_t n,
                                    const std::vector<std::vector<std::int32_t>>& labellings, double log_normalisers,
                                    const Kernels& kernels, const DecodingKernels& decoding);

}  // namespace ctckit
