// The processor's floating-point mode. In an unnamed namespace, since files are compiled for several instruction sets.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace ctckit {
namespace {

// Sets the processor's floating-point mode to the standard one for a while: a caller may have set subnormal numbers to
// be flushed, on its own thread only.
class StandardMode {
 public:
#if defined(__x86_64__) || defined(_M_X64)
  StandardMode() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~StandardMode() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  StandardMode() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    __asm__ volatile("msr fpcr, xzr" ::: "memory");
  }
  ~StandardMode() { __asm__ volatile("msr fpcr, %0" ::"r"(saved_) : "memory"); }

 private:
  std::uint64_t saved_;
#endif
 public:
  StandardMode(const StandardMode&) = delete;
  StandardMode& operator=(const StandardMode&) = delete;
};

}  // namespace
}  // namespace ctckit
