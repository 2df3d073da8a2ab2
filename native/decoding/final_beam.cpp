#include "decoding/final_beam.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/schedule.hpp"

namespace ctckit {

FinalBeam::FinalBeam(const Search& search)
    : nodes_(search.state().beam.node, search.state().beam.node + search.state().size),
      tree_(search.tree().part(nodes_)),
      status_(search.state().status),
      log_beam_mass_(status_ == SearchStatus::searching ? search.log_beam_mass() : -INFINITY),
      frames_(search.state().frames),
      log_normalisers_(search.state().log_normalisers),
      has_sums_(search.state().reading == Reading::all),
      sums_(search.state().sums) {
  if (status_ != SearchStatus::searching) nodes_.clear();
  for (std::int32_t rank = 0; rank < size(); ++rank) log_masses_.push_back(search.log_mass(rank));
}

std::vector<std::int32_t> FinalBeam::classes(std::int64_t rank) const {
  std::vector<std::int32_t> found = tree_.stable();
  tree_.append_classes(nodes_[static_cast<std::size_t>(rank)], found);
  return found;
}

// With Z the probability of all labellings, K that of the beam's masses, and e the exact probability of a prefix of the
// beam, of mass m: the labellings outside of the beam have together at most Z - K less the sum of e - m over all
// prefixes, and a prefix has at most m and this rest. So a prefix is the best of all if its e is above the rest, and
// above m plus the rest of every prefix whose e is not known.
Certificate FinalBeam::certify(const Batch& batch, std::int64_t n, std::vector<double> exact, double tolerance,
                               const Kernels& kernels, const DecodingKernels& decoding) const {
  constexpr double kLog2 = 0.693147180559945309417;
  FrameSums sums = sums_;
  if (!has_sums_ && !batch.logits) {
    std::vector<double> buffer(static_cast<std::size_t>(batch.classes));
    sums = decoding.sum_frames(batch, n, buffer.data());
  }
  Certificate found{};
  found.is_normalised = sums.least >= 1 - tolerance && sums.largest <= 1 + tolerance;
  found.log_total = std::log(sums.product) + static_cast<double>(sums.exponent) * kLog2;
  if (status_ != SearchStatus::searching) return found;
  // Shares of Z. The rounding errors of a frame's masses, sums and exact probabilities are below this, relative to Z.
  const double slack = 4e-15 * (static_cast<double>(frames_) + 1000) + 0x1p-50 * std::fabs(log_normalisers_);
  const auto share = [&](double log_probability) { return std::exp(log_probability - found.log_total); };
  double rest = std::max(0.0, 1 - share(log_beam_mass_));
  found.lost = rest;
  const auto count = static_cast<std::size_t>(size());
  double best = 0;
  for (std::size_t k = 0; k < exact.size(); ++k) {
    rest -= std::max(0.0, share(exact[k]) - share(log_masses_[k]));
    best = std::max(best, share(exact[k]));
  }
  for (std::size_t next = exact.size();; ++next) {
    if (best <= 0) return found;
    // If the best is to be proved best, no other prefix absorbs more of the rest than up to as much as it has.
    double absorbed = 0;
    for (std::size_t k = next; k < count; ++k) absorbed += std::max(0.0, best - share(log_masses_[k]));
    if (rest - absorbed >= best) return found;
    // Masses are in order, so the next is the largest of those whose exact probability is not known.
    const double other = next < count ? share(log_masses_[next]) : 0;
    if (best > std::max(0.0, rest) + other + slack) break;
    if (next >= count) return found;
    const double probability = share(
        log_likelihoods(batch, n, {classes(static_cast<std::int64_t>(next))}, log_normalisers_, kernels, decoding)[0]);
    if (probability > best) return found;  // another prefix is better
    rest -= std::max(0.0, probability - other);
  }
  found.is_proved = true;
  return found;
}

std::vector<double> log_likelihoods(const Batch& batch, std::int64_t n,
                                    const std::vector<std::vector<std::int32_t>>& labellings, double log_normalisers,
                                    const Kernels& kernels, const DecodingKernels& decoding) {
  // The emissions of the classes that occur, in double: the recursion has the precision of its input.
  std::vector<std::int64_t> classes{batch.blank};
  for (const std::vector<std::int32_t>& labelling : labellings)
    classes.insert(classes.end(), labelling.begin(), labelling.end());
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  const auto column_of = [&](std::int64_t clazz) {
    return std::lower_bound(classes.begin(), classes.end(), clazz) - classes.begin();
  };
  const std::int64_t frames = batch.input_lengths[n], columns = static_cast<std::int64_t>(classes.size());
  std::vector<double> emissions(static_cast<std::size_t>(frames * columns) + 1);
  // The normalisers are known. But where they are far from 0, the sums of logits and of normalisers would cancel.
  const bool normalises = batch.logits && !(std::fabs(log_normalisers) <= 1e3 * static_cast<double>(frames));
  std::vector<double> buffer(normalises ? static_cast<std::size_t>(batch.classes) : 0);
  decoding.gather(batch, n, classes.data(), columns, emissions.data(), normalises ? buffer.data() : nullptr);

  std::vector<std::int64_t> labels, offsets, target_lengths;
  for (const std::vector<std::int32_t>& labelling : labellings) {
    offsets.push_back(static_cast<std::int64_t>(labels.size()));
    target_lengths.push_back(static_cast<std::int64_t>(labelling.size()));
    for (const std::int32_t clazz : labelling) labels.push_back(column_of(clazz));
  }
  labels.push_back(0);  // so that there is an address
  const std::vector<std::int64_t> input_lengths(labellings.size(), frames);
  std::vector<double> values(labellings.size());
  Batch likelihoods{};
  likelihoods.dtype = DType::float64;
  likelihoods.emissions = emissions.data();
  likelihoods.strides = {columns, 0, 1};  // all items are the same emissions
  likelihoods.frames = frames;
  likelihoods.items = static_cast<std::int64_t>(labellings.size());
  likelihoods.classes = columns;
  likelihoods.labels = labels.data();
  likelihoods.offsets = offsets.data();
  likelihoods.input_lengths = input_lengths.data();
  likelihoods.target_lengths = target_lengths.data();
  likelihoods.blank = column_of(batch.blank);
  likelihoods.nll = values.data();
  run(kernels, likelihoods, 1);
  for (double& value : values) value = -value - (normalises ? 0 : log_normalisers);
  return values;
}

}  // namespace ctckit
