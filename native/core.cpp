#include "core.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/buffer.hpp"
#include "base/processor.hpp"
#include "base/workers.hpp"

namespace ctckit {

namespace baseline {
extern const Kernels kernels;
}
#if defined(CTCKIT_WITH_AVX2)
namespace avx2 {
extern const Kernels kernels;
}
#endif
#if defined(CTCKIT_WITH_AVX512)
namespace avx512 {
extern const Kernels kernels;
}
#endif

std::span<const Kernels* const> available_kernels() {
  static const std::vector<const Kernels*> available = [] {
    std::vector<const Kernels*> found;
#if defined(CTCKIT_WITH_AVX512)
    if (x86_level() >= 4) found.push_back(&avx512::kernels);
#endif
#if defined(CTCKIT_WITH_AVX2)
    if (x86_level() >= 3) found.push_back(&avx2::kernels);
#endif
    found.push_back(&baseline::kernels);
    return found;
  }();
  return available;
}

const Kernels& kernels_named(std::string_view name) {
  for (const Kernels* kernels : available_kernels())
    if (name == kernels->name) return *kernels;
  throw std::invalid_argument("no kernels '" + std::string(name) + "' that this processor can run");
}

bool locate_targets(const Batch& batch, const LabelStorage& storage, std::int64_t* offsets) {
  if (batch.blank < 0 || batch.blank >= batch.classes) return false;
  if (!storage.concatenated && batch.items > 0 && storage.max_target != storage.size / batch.items) return false;
  std::int64_t end = 0;  // of the targets so far
  for (std::int64_t n = 0; n < batch.items; ++n) {
    const std::int64_t frames = batch.input_lengths[n], labels = batch.target_lengths[n];
    const std::int64_t offset = offsets[n] = storage.concatenated ? end : n * storage.max_target;
    if (frames < 0 || frames > batch.frames || labels < 0 || labels > storage.max_target) return false;
    if (labels > storage.size - offset) return false;
    end = offset + labels;
    for (std::int64_t s = 0; s < labels; ++s) {
      const std::int64_t label = batch.labels[offset + s];
      if (label < 0 || label >= batch.classes || label == batch.blank) return false;
    }
  }
  return !storage.concatenated || end == storage.size;
}

double reduce(const Batch& batch, Reduction reduction, bool zero_infinity) {
  double sum = 0;
  for (std::int64_t n = 0; n < batch.items; ++n) {
    double& nll = batch.nll[n];
    if (zero_infinity && std::isinf(nll)) nll = 0;
    const auto labels = static_cast<double>(std::max<std::int64_t>(batch.target_lengths[n], 1));
    sum += reduction == Reduction::mean ? nll / labels : nll;
  }
  return reduction == Reduction::mean ? sum / static_cast<double>(batch.items) : sum;
}

namespace {

// Operations worth a thread: they take 60 to 300 microseconds. To wake a sleeping thread up costs 10 to 45 of this one,
// and it begins after 20 to 75. With half a million for each of two threads, a call on cold caches took from 0.96
// to 1.1 times as long as on one.
constexpr double kWorkPerThread = 1e6;

// Roughly the number of operations of an item.
double work_of(const Batch& batch, std::int64_t n) {
  const double frames = static_cast<double>(batch.input_lengths[n]);
  return frames * (8.0 * static_cast<double>(batch.target_lengths[n] + 8) + static_cast<double>(batch.classes));
}

class Scratch {
 public:
  ~Scratch() {
    if (buffer_) Buffer::give_back_scratch(std::move(buffer_));
  }
  std::byte* at_least(std::size_t bytes) {
    if (!buffer_ || buffer_->size() < bytes) {
      buffer_.reset();
      buffer_ = Buffer::take_scratch(bytes);
    }
    bytes_ = bytes;
    return buffer_->data();
  }
  std::size_t size() const { return buffer_->size(); }
  void soil() const { buffer_->soil(bytes_); }

 private:
  std::unique_ptr<Buffer> buffer_;
  std::size_t bytes_ = 0;  // of which so many are asked for
};

}  // namespace

void run(const Kernels& kernels, const Batch& batch, int threads) {
  double total_work = 0;
  for (std::int64_t n = 0; n < batch.items; ++n) total_work += work_of(batch, n);

  const double useful = std::min(total_work / kWorkPerThread, static_cast<double>(batch.items));
  const int used = std::max(1, std::min(threads, static_cast<int>(std::min(useful, 1024.0))));

  // Longest first, so that no thread starts a long item when the others are done. Of equally long ones, those together
  // that are far apart in the batch: where frames of neighbours lie side by side, two threads would take the same lines
  // of memory from one another, as processors fetch the next ones unasked.
  std::vector<std::int64_t> order(static_cast<std::size_t>(batch.items));
  const std::int64_t apart = (batch.items + used - 1) / used;
  std::size_t filled = 0;
  for (std::int64_t first = 0; first < apart; ++first)
    for (std::int64_t n = first; n < batch.items; n += apart) order[filled++] = n;
  if (used > 1)
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return work_of(batch, a) > work_of(batch, b); });

  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      Scratch scratch;
      std::byte* memory = nullptr;
      std::int64_t frames = -1, labels = -1;  // for which it is enough
      for (std::size_t k = next++; k < order.size(); k = next++) {
        const std::int64_t n = order[k];
        if (batch.input_lengths[n] != frames || batch.target_lengths[n] != labels) {
          memory = scratch.at_least(kernels.scratch_bytes(batch, n));
          frames = batch.input_lengths[n];
          labels = batch.target_lengths[n];
        }
        scratch.soil();
        kernels.run_item(batch, n, memory, scratch.size());
      }
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      failure = std::current_exception();
      next = order.size();
    }
  };
  share(used - 1, std::ref(work));
  if (failure) std::rethrow_exception(failure);
}

}  // namespace ctckit
