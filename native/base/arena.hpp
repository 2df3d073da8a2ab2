// Scratch memory: arrays taken one after the other from a block. Without a block, only their bytes are counted.
//
// With AddressSanitizer, the gap after an array is poisoned: the unused end of its last cache line, and one line more.
// An array beyond the end of the block aborts the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/sanitizer.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

class Arena {
 public:
  Arena(std::byte* base, std::size_t bytes) : base_(base), bytes_(bytes) {}

  template <class T>
  T* take(std::int64_t count) {
    constexpr std::size_t line = 64;
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    const std::size_t taken = (bytes + line - 1) / line * line + (kAddressSanitizer ? line : 0);
    std::byte* const piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += taken;
    if (kAddressSanitizer && piece != nullptr) {
      if (used_ > bytes_) std::abort();
      ASAN_UNPOISON_MEMORY_REGION(piece, taken);
      ASAN_POISON_MEMORY_REGION(piece + bytes, taken - bytes);
    }
    return reinterpret_cast<T*>(piece);
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t bytes_;
  std::size_t used_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
