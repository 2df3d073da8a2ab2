#include "decoding/decode.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <mutex>
#include <numeric>
#include <utility>

#include "base/workers.hpp"

namespace ctckit {
namespace {

// Frames of a search that are worth a thread, see base/schedule.cpp.
constexpr double kFramesPerThread = 200;
// Bytes of a search that a thread keeps between items.
constexpr std::size_t kMostMemory = std::size_t{1} << 22;

// Calls `work` for each item, on up to `threads` threads, the longest first.
void for_each_item(const Batch& batch, int threads, double frames_per_thread,
                   const std::function<void(std::int64_t)>& work) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(batch.items));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return batch.input_lengths[a] > batch.input_lengths[b]; });
  double frames = 0;
  for (std::int64_t n = 0; n < batch.items; ++n) frames += static_cast<double>(batch.input_lengths[n]);
  const double useful = std::min(frames / frames_per_thread, static_cast<double>(batch.items));
  const int used = std::max(1, std::min(threads, static_cast<int>(std::min(useful, 1024.0))));

  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto share_of_work = [&] {
    try {
      for (std::size_t k = next++; k < order.size(); k = next++) work(order[k]);
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
      next = order.size();
    }
  };
  share(used - 1, std::ref(share_of_work));
  if (failure) std::rethrow_exception(failure);
}

// The sum of each scorer's gains over a row of classes and the end.
std::vector<double> gains_of(const std::vector<std::int32_t>& classes, const std::vector<Scorer*>& scorers) {
  std::vector<double> sums;
  for (Scorer* const scorer : scorers) {
    Scorer::State state = scorer->initial();
    double sum = 0, gain = 0;
    for (const std::int32_t clazz : classes) {
      Scorer::State next = 0;
      scorer->score({&state, 1}, {&clazz, 1}, {&gain, 1});
      scorer->advance({&state, 1}, {&clazz, 1}, {&next, 1});
      sum += gain;
      state = next;
    }
    scorer->finish({&state, 1}, {&gain, 1});
    sums.push_back(sum + gain);
  }
  return sums;
}

}  // namespace

std::vector<DecodedHypothesis> hypotheses_of(const FinalBeam& beam, const std::vector<Scorer*>& scorers,
                                             std::int64_t most) {
  std::vector<DecodedHypothesis> found;
  for (std::int64_t rank = 0; rank < std::min(most, beam.size()); ++rank) {
    DecodedHypothesis hypothesis{beam.classes(rank), beam.log_mass(rank), 0, {}};
    hypothesis.gains = gains_of(hypothesis.classes, scorers);
    hypothesis.acoustic_score = std::accumulate(hypothesis.gains.begin(), hypothesis.gains.end(), hypothesis.beam_score,
                                                [](double score, double gain) { return score - gain; });
    found.push_back(std::move(hypothesis));
  }
  return found;
}

std::vector<DecodedItem> decode(const Batch& batch, const DecodingOptions& options, const std::vector<Scorer*>& scorers,
                                int threads, const Kernels& kernels, const DecodingKernels& decoding) {
  std::vector<DecodedItem> items(static_cast<std::size_t>(batch.items));
  for_each_item(batch, threads, kFramesPerThread, [&](std::int64_t n) {
    DecodedItem& item = items[static_cast<std::size_t>(n)];
    thread_local SearchMemory memory;
    Search search(options.search, scorers, std::exchange(memory, {}));
    decoding.advance(search.state(), batch, n, 0, batch.input_lengths[n]);
    search.finish();
    item.beam = std::make_unique<FinalBeam>(search);
    item.hypotheses = hypotheses_of(*item.beam, scorers, options.hypotheses);
    memory = search.take_memory();
    if (memory.bytes() > kMostMemory) memory = {};
    if (!options.rescore) return;
    std::vector<std::vector<std::int32_t>> labellings;
    for (const DecodedHypothesis& hypothesis : item.hypotheses) labellings.push_back(hypothesis.classes);
    const std::vector<double> exact =
        log_likelihoods(batch, n, labellings, item.beam->log_normalisers(), kernels, decoding);
    for (std::size_t k = 0; k < exact.size(); ++k) item.hypotheses[k].acoustic_score = exact[k];
  });
  return items;
}

std::vector<GreedyItem> decode_greedily(const Batch& batch, bool rescore, int threads, const Kernels& kernels,
                                        const DecodingKernels& decoding) {
  std::vector<GreedyItem> items(static_cast<std::size_t>(batch.items));
  for_each_item(batch, threads, 50 * kFramesPerThread, [&](std::int64_t n) {
    GreedyItem& item = items[static_cast<std::size_t>(n)];
    std::vector<double> buffer(static_cast<std::size_t>(batch.classes));
    item.classes.resize(static_cast<std::size_t>(batch.input_lengths[n]));
    item.path = decoding.greedy(batch, n, item.classes.data(), buffer.data());
    item.classes.resize(static_cast<std::size_t>(item.path.count));
    if (rescore && item.path.status != SearchStatus::not_finite)
      item.acoustic_score = log_likelihoods(batch, n, {item.classes}, item.path.log_normalisers, kernels, decoding)[0];
  });
  return items;
}

}  // namespace ctckit
