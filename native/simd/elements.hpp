// The element types that emissions come in, and the type that each is computed in.
#pragma once

#include <bit>

#include "simd/simd.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

template <class T>
struct ComputedIn {
  using Real = float;
};
template <>
struct ComputedIn<double> {
  using Real = double;
};

inline double widen(double x) { return x; }
inline float widen(float x) { return x; }
inline float widen(BFloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }
inline float widen(Float16 x) {
  // The half's exponent and fraction, moved to a float's bits, are its value times 2^-112. Infinities and NaNs get the
  // float's exponent of all ones.
  const std::uint32_t magnitude = (x.bits & 0x7fffu) << 13;
  const std::uint32_t special = magnitude >= 0x0f800000u ? 0x70000000u : 0u;
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  const std::uint32_t sign = (x.bits & 0x8000u) << 16;
  const std::uint32_t bits = special ? (magnitude | 0x7f800000u) : std::bit_cast<std::uint32_t>(scaled);
  return std::bit_cast<float>(bits | sign);
}

// Round to nearest, ties to even, as IEEE and torch do.
template <class T>
inline T narrow(float x) {
  if constexpr (sizeof(T) == 2) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    const bool nan = magnitude > 0x7f800000u;
    if constexpr (std::is_same_v<T, BFloat16>) {
      const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
      return {static_cast<std::uint16_t>(nan ? 0x7fc0u : rounded)};
    } else {
      const std::uint32_t sign = (bits >> 16) & 0x8000u;
      // Normal halves: rebias by integer arithmetic. Subnormal ones: adding 0.5 leaves the rounded fraction in the
      // low bits of the sum. 65520 and more is infinity.
      const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
      const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) & 0x7ffu;
      std::uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
      half = magnitude >= 0x477ff000u ? 0x7c00u : half;
      half = nan ? 0x7e00u : half;
      return {static_cast<std::uint16_t>(half | sign)};
    }
  } else {
    return static_cast<T>(x);
  }
}
template <class T>
inline T narrow(double x) {
  if constexpr (std::is_same_v<T, double>) {
    return x;
  } else {
    return narrow<T>(static_cast<float>(x));
  }
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
