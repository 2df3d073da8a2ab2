// Memory that is kept between calls: the system maps and clears fresh memory, which costs more than the loss itself.
// The last large result that was freed is kept for the next one, and so is each thread's scratch memory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "base/sanitizer.hpp"

namespace ctckit {

class Buffer {
 public:
  // Reuses the kept buffer if it is large enough and at most twice as large; else allocates.
  static std::unique_ptr<Buffer> take(std::size_t bytes) {
    std::unique_ptr<Buffer> kept(kept_.exchange(nullptr));
    if (!kept || kept->bytes_ < bytes || kept->bytes_ / 2 > bytes) {
      kept.reset();
      kept.reset(new Buffer(bytes));
    }
    kept->soil(bytes);
    return kept;
  }
  static void give_back(std::unique_ptr<Buffer> buffer) { delete kept_.exchange(buffer.release()); }

  // Reuses a kept buffer, preferring the one this thread used last (it is in its cache). Allocates if it is too small.
  static std::unique_ptr<Buffer> take_scratch(std::size_t bytes) {
    for (std::size_t k = 0; k < kept_scratch_.size(); ++k) {
      std::unique_ptr<Buffer> kept(scratch_slot(k).exchange(nullptr));
      if (kept && kept->bytes_ >= bytes) return kept;
      if (kept) break;  // too small: free it and allocate
    }
    return std::unique_ptr<Buffer>(new Buffer(bytes));
  }
  static void give_back_scratch(std::unique_ptr<Buffer> buffer) {
    if (buffer->bytes_ > kMostScratch) return;
    for (std::size_t k = 0; k < kept_scratch_.size(); ++k) {
      Buffer* empty = nullptr;
      if (scratch_slot(k).compare_exchange_strong(empty, buffer.get())) return static_cast<void>(buffer.release());
    }
  }

  // For tests: from now on results, and scratch memory before each item, are filled with this byte, so that reading a
  // value before it is written shows. -1 ends this.
  static void fill_with(int byte) { filler_ = byte; }
  void soil(std::size_t bytes) const {
    const int filler = filler_.load(std::memory_order_relaxed);
    if (filler < 0) return;
    ASAN_UNPOISON_MEMORY_REGION(data_, bytes);
    std::memset(data_, filler, bytes);
  }

  static void release_kept() {
    delete kept_.exchange(nullptr);
    for (std::atomic<Buffer*>& slot : kept_scratch_) delete slot.exchange(nullptr);
  }

  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }

  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete[](data_, kLargePage); }

 private:
  explicit Buffer(std::size_t bytes)
      : bytes_(bytes), data_(static_cast<std::byte*>(::operator new[](bytes, kLargePage, std::nothrow))) {
    if (data_ == nullptr) throw std::bad_alloc();  // operator new would abort the process under a sanitizer
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    madvise(data_, bytes, MADV_HUGEPAGE);  // only advice: it may fail
#endif
  }

  // The k-th slot in this thread's order of search.
  static std::atomic<Buffer*>& scratch_slot(std::size_t k) {
    static std::atomic<std::size_t> threads{0};
    static thread_local const std::size_t number = threads++;
    return kept_scratch_[(number + k) % kept_scratch_.size()];
  }

  static constexpr std::align_val_t kLargePage{std::size_t{2} << 20};
  static constexpr std::size_t kMostScratch = std::size_t{16} << 20;  // of each thread
  // No lock, so a fork cannot leave one held.
  static inline std::atomic<Buffer*> kept_{nullptr};
  static inline std::array<std::atomic<Buffer*>, 64> kept_scratch_{};
  static inline std::atomic<int> filler_{-1};
  std::size_t bytes_;
  std::byte* data_;
};

}  // namespace ctckit
