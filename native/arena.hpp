// Scratch memory: pieces handed out one after the other from a block, or, without a block, only counted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ctckit::CTCKIT_ISA {
namespace {

class Arena {
 public:
  explicit Arena(std::byte* base) : base_(base) {}

  template <class T>
  T* take(std::int64_t count) {
    constexpr std::size_t line = 64;
    T* piece = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + line - 1) / line * line;
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
