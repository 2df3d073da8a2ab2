// Which x86-64 level the processor and the operating system can run. Uses CPUID directly: the compilers' builtin needs
// a run-time library that some platforms' Clang lacks.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>

#include <cstdint>
#include <initializer_list>

namespace ctckit {

// 2, 3 or 4, as in x86-64-v2 and so on.
inline int x86_level() {
  const auto has_all = [](unsigned word, std::initializer_list<int> bits) {
    for (int bit : bits)
      if ((word >> bit & 1u) == 0) return false;
    return true;
  };
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return 2;
  // FMA, MOVBE, OSXSAVE, AVX, F16C
  if (!has_all(c, {12, 22, 27, 28, 29})) return 2;
  std::uint32_t saved_low = 0, saved_high = 0;  // XCR0: the registers that the operating system saves
  __asm__ volatile("xgetbv" : "=a"(saved_low), "=d"(saved_high) : "c"(0));
  if ((saved_low & 0x06u) != 0x06u) return 2;
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d) == 0 || !has_all(c, {5})) return 2;       // LZCNT
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || !has_all(b, {3, 5, 8})) return 2;  // BMI1, AVX2, BMI2
  // AVX-512 F, DQ, CD, BW, VL
  return has_all(b, {16, 17, 28, 30, 31}) && (saved_low & 0xe6u) == 0xe6u ? 4 : 3;
}

}  // namespace ctckit
#endif
