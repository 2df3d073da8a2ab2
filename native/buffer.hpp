// Memory for large results. A fresh gradient of hundreds of megabytes costs more in page faults than the loss itself,
// and the allocator gives such memory back to the system as soon as it is freed. So the last one freed is kept for the
// next.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ctckit {

class Buffer {
 public:
  // The kept buffer if it is large enough, and not more than twice as large, else a fresh one.
  static std::unique_ptr<Buffer> take(std::size_t bytes) {
    std::unique_ptr<Buffer> kept(kept_.exchange(nullptr));
    if (kept && kept->bytes_ >= bytes && kept->bytes_ / 2 <= bytes) return kept;
    kept.reset();
    return std::unique_ptr<Buffer>(new Buffer(bytes));
  }
  static void give_back(std::unique_ptr<Buffer> buffer) { delete kept_.exchange(buffer.release()); }
  static void release_kept() { delete kept_.exchange(nullptr); }

  std::byte* data() const { return data_; }

  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete[](data_, kLargePage); }

 private:
  explicit Buffer(std::size_t bytes)
      : bytes_(bytes), data_(static_cast<std::byte*>(::operator new[](bytes, kLargePage))) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    madvise(data_, bytes, MADV_HUGEPAGE);  // advice: a refusal does no harm
#endif
  }

  static constexpr std::align_val_t kLargePage{std::size_t{2} << 20};
  static inline std::atomic<Buffer*> kept_{nullptr};  // no lock, so a fork cannot leave one held
  std::size_t bytes_;
  std::byte* data_;
};

}  // namespace ctckit
