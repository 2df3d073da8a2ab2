#include "base/schedule.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/buffer.hpp"
#include "base/workers.hpp"

namespace ctckit {
namespace {

// Operations that are worth a thread: they take 60 to 300 microseconds. Waking a thread costs the caller 10 to 45
// microseconds; the thread starts 20 to 75 microseconds later. With half a million operations for each of two threads,
// a call on cold caches took from 0.96 to 1.1 times as long as on one thread.
constexpr double kWorkPerThread = 1e6;

// Roughly the number of operations of an item.
double work_of(const Batch& batch, std::int64_t n) {
  const double frames = static_cast<double>(batch.input_lengths[n]);
  return frames * (8.0 * static_cast<double>(batch.target_lengths[n] + 8) + static_cast<double>(batch.classes));
}

// A thread's scratch memory, which grows with its items.
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
  std::size_t bytes_ = 0;  // that the last item asked for
};

}  // namespace

void run(const Kernels& kernels, const Batch& batch, int threads) {
  double total_work = 0;
  for (std::int64_t n = 0; n < batch.items; ++n) total_work += work_of(batch, n);

  const double useful = std::min(total_work / kWorkPerThread, static_cast<double>(batch.items));
  const int used = std::max(1, std::min(threads, static_cast<int>(std::min(useful, 1024.0))));

  // Longest first, so that no thread starts a long item when the others are done. Equally long items are ordered so
  // that threads work on distant items: the frames of neighbours share cache lines, and processors prefetch the next
  // line.
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
      std::int64_t frames = -1, labels = -1;  // that `memory` is enough for
      for (std::size_t k = next++; k < order.size(); k = next++) {
        const std::int64_t n = order[k];
        if (batch.input_lengths[n] != frames || batch.target_lengths[n] != labels) {
          memory = scratch.at_least(kernels.scratch_bytes(batch, n, Plan::sure));
          frames = batch.input_lengths[n];
          labels = batch.target_lengths[n];
        }
        scratch.soil();
        if (!kernels.run_item(batch, n, Plan::sure, memory, scratch.size())) {
          memory = scratch.at_least(kernels.scratch_bytes(batch, n, Plan::whole));
          scratch.soil();
          kernels.run_item(batch, n, Plan::whole, memory, scratch.size());
        }
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
