// Lanes of a vector that are chosen by a bit each, written one after the other. A whole vector may be written.
#pragma once

#include <cstdint>

#include "decoding/arithmetic.hpp"

namespace ctckit::CTCKIT_ISA {
namespace {

template <class Element, class Vector>
inline void compress_by_lane(Element* to, Vector v, unsigned bits) {
  if (bits == 0) return;
  constexpr int width = sizeof(Vector) / sizeof(Element);
  Element lanes[width];
  store(lanes, v);
  for (int j = 0; j < width; ++j) {
    *to = lanes[j];
    to += bits >> j & 1;
  }
}

inline void compress(double* to, F64 v, unsigned bits) {
#if CTCKIT_VECTOR_BYTES == 64
  store(to, (F64)_mm512_maskz_compress_pd(static_cast<__mmask8>(bits), (__m512d)v));
#else
  compress_by_lane(to, v, bits);
#endif
}
inline void compress(std::int64_t* to, I64 v, unsigned bits) {
#if CTCKIT_VECTOR_BYTES == 64
  store(to, (I64)_mm512_maskz_compress_epi64(static_cast<__mmask8>(bits), (__m512i)v));
#else
  compress_by_lane(to, v, bits);
#endif
}
// As many integers as there are doubles in a vector.
inline void compress(std::int32_t* to, I32Half v, unsigned bits) {
#if CTCKIT_VECTOR_BYTES == 64
  store(to, (I32Half)_mm256_maskz_compress_epi32(static_cast<__mmask8>(bits), (__m256i)v));
#else
  compress_by_lane(to, v, bits);
#endif
}
inline void compress(std::int32_t* to, I32 v, unsigned bits) {
#if CTCKIT_VECTOR_BYTES == 64
  store(to, (I32)_mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), (__m512i)v));
#else
  compress_by_lane(to, v, bits);
#endif
}

template <class Vector, class Element, Element... Lane>
constexpr Vector lane_numbers(std::integer_sequence<Element, Lane...>) {
  return Vector{Lane...};
}
// first, first + 1, ...
inline I32Half half_of_integers(std::int32_t first) {
  return lane_numbers<I32Half>(std::make_integer_sequence<std::int32_t, kLanes>{}) + first;
}
inline I32 integers(std::int32_t first) {
  return lane_numbers<I32>(std::make_integer_sequence<std::int32_t, 2 * kLanes>{}) + first;
}
inline I64 long_integers(std::int64_t first) {
  return lane_numbers<I64>(std::make_integer_sequence<std::int64_t, kLanes>{}) + first;
}

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
