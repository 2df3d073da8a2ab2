// The vector operations of the kernels, on the compiler's vector types (GCC >= 12, Clang). This file is compiled once
// per instruction set. Each copy has its own namespace, CTCKIT_ISA, so that the linker never picks a copy for a wider
// processor.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define CTCKIT_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define CTCKIT_VECTOR_BYTES 32
#else
#define CTCKIT_VECTOR_BYTES 16  // SSE4.2, NEON
#endif

// Marks cold code, to keep hot code dense.
#define CTCKIT_COLD __attribute__((noinline))

namespace ctckit::CTCKIT_ISA {
namespace {

using F64 = double __attribute__((vector_size(CTCKIT_VECTOR_BYTES)));
using F32 = float __attribute__((vector_size(CTCKIT_VECTOR_BYTES)));
using I64 = std::int64_t __attribute__((vector_size(CTCKIT_VECTOR_BYTES)));
using U64 = std::uint64_t __attribute__((vector_size(CTCKIT_VECTOR_BYTES)));
using F32Half = float __attribute__((vector_size(CTCKIT_VECTOR_BYTES / 2)));  // as many floats as there are doubles
using I32Half = std::int32_t __attribute__((vector_size(CTCKIT_VECTOR_BYTES / 2)));
using I32 = std::int32_t __attribute__((vector_size(CTCKIT_VECTOR_BYTES)));

constexpr int kLanes = CTCKIT_VECTOR_BYTES / 8;  // of doubles and 64-bit integers: the width of the recursion

template <class Real>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Values = F32;
  using Integers = I32;
  using Integer = std::int32_t;
};
template <>
struct VectorOf<double> {
  using Values = F64;
  using Integers = I64;
  using Integer = std::int64_t;
};

template <class Vector, class Element>
inline Vector load(const Element* from) {
  Vector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class Vector, class Element>
inline void store(Element* to, Vector value) {
  std::memcpy(to, &value, sizeof value);
}

template <class Vector, class Element>
inline Vector broadcast(Element value) {
  return Vector{} + value;
}

#if CTCKIT_VECTOR_BYTES == 64
// All lanes: without a mask, GCC 12 warns of an uninitialised value in its own headers.
constexpr __mmask8 kAll8 = 0xff;
constexpr __mmask16 kAll16 = 0xffff;
#elif CTCKIT_VECTOR_BYTES == 32
// For each count below 8 (or 4, of doubles: every second entry), as many lanes of ones.
alignas(32) constexpr std::int32_t kFirstLanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
inline __m256i first_lanes(std::int64_t bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFirstLanes + 8 - bytes / 4));
}
#endif

// Loads or stores the first `count` lanes, fewer than all. The memory of the others is not touched; they load as
// `filler`.
template <class Vector, class Real>
inline Vector load_first(const Real* from, std::int64_t count, Real filler) {
  const Vector fill = broadcast<Vector>(filler);
#if CTCKIT_VECTOR_BYTES == 64
  if constexpr (sizeof(Real) == 4) {
    return (Vector)_mm512_mask_loadu_ps((__m512)fill, static_cast<__mmask16>((1u << count) - 1), from);
  } else {
    return (Vector)_mm512_mask_loadu_pd((__m512d)fill, static_cast<__mmask8>((1u << count) - 1), from);
  }
#elif CTCKIT_VECTOR_BYTES == 32
  const __m256i mask = first_lanes(count * static_cast<std::int64_t>(sizeof(Real)));
  if constexpr (sizeof(Real) == 4) {
    return (Vector)_mm256_blendv_ps((__m256)fill, _mm256_maskload_ps(from, mask), (__m256)mask);
  } else {
    return (Vector)_mm256_blendv_pd((__m256d)fill, _mm256_maskload_pd(from, mask), (__m256d)mask);
  }
#else
  Vector value = fill;
  for (std::int64_t lane = 0; lane < count; ++lane) value[lane] = from[lane];
  return value;
#endif
}
template <class Vector, class Real>
inline void store_first(Real* to, Vector value, std::int64_t count) {
#if CTCKIT_VECTOR_BYTES == 64
  if constexpr (sizeof(Real) == 4) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), (__m512)value);
  } else {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), (__m512d)value);
  }
#elif CTCKIT_VECTOR_BYTES == 32
  const __m256i mask = first_lanes(count * static_cast<std::int64_t>(sizeof(Real)));
  if constexpr (sizeof(Real) == 4) {
    _mm256_maskstore_ps(to, mask, (__m256)value);
  } else {
    _mm256_maskstore_pd(to, mask, (__m256d)value);
  }
#else
  for (std::int64_t lane = 0; lane < count; ++lane) to[lane] = value[lane];
#endif
}

// Writes past the caches, to an aligned address. Call `finish_streams` before another thread reads it.
template <class Vector, class Element>
inline void stream(Element* to, Vector value) {
#if CTCKIT_VECTOR_BYTES == 64
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)value);
#elif CTCKIT_VECTOR_BYTES == 32
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)value);
#elif defined(__x86_64__) || defined(_M_X64)
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)value);
#else
  store(to, value);
#endif
}
inline void finish_streams() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_sfence();
#endif
}

// The second where either is NaN. (With AVX-512, GCC 12 does not find the instruction.)
template <class Vector>
inline Vector larger(Vector a, Vector b) {
#if CTCKIT_VECTOR_BYTES == 64
  if constexpr (std::is_same_v<Vector, F32>) return (F32)_mm512_maskz_max_ps(kAll16, (__m512)a, (__m512)b);
  if constexpr (std::is_same_v<Vector, F64>) return (F64)_mm512_maskz_max_pd(kAll8, (__m512d)a, (__m512d)b);
#endif
  return a > b ? a : b;
}

template <class Vector>
inline Vector smaller(Vector a, Vector b) {
  return a < b ? a : b;
}

// 2^d for integers d: 0 below the normal range, 2^1023 above it.
inline F64 power_of_two(I64 d) {
  const I64 clipped = smaller(d, broadcast<I64>(std::int64_t{1023}));
  const I64 bits = (clipped + 1023) << 52;
  return (F64)(clipped < -1022 ? I64{} : bits);
}

// m = mantissa * 2^exponent with mantissa in [1, 2), or in that range times 2^kAt. Zero stays zero; its exponent is
// meaningless.
inline I64 exponent_of(F64 m) { return (I64)((U64)m >> 52) - 1023; }
template <std::int64_t kAt = 0>
inline F64 mantissa_of(F64 m) {
  const I64 fraction = broadcast<I64>(std::int64_t{0x000fffffffffffff});
  const I64 exponent = broadcast<I64>((std::int64_t{1023} + kAt) << 52);
  return (F64)(m == 0.0 ? I64{} : (((I64)m & fraction) | exponent));
}

template <int Distance, class Vector, std::size_t... Lane>
inline Vector rotate_lanes(Vector v, std::index_sequence<Lane...>) {
  return __builtin_shufflevector(v, v, static_cast<int>((Lane + Distance) % sizeof...(Lane))...);
}

// Folds all lanes into one, halving the distance each round, in a fixed order.
template <int Distance, class Vector, class Fold>
inline auto fold_lanes(Vector v, Fold fold) {
  using Lanes = std::make_index_sequence<sizeof(Vector) / sizeof(v[0])>;
  v = fold(v, rotate_lanes<Distance>(v, Lanes{}));
  if constexpr (Distance > 1) {
    return fold_lanes<Distance / 2>(v, fold);
  } else {
    return v[0];
  }
}
inline double sum_of_lanes(F64 v) {
  return fold_lanes<kLanes / 2>(v, [](F64 a, F64 b) { return a + b; });
}
template <class Vector>
inline auto largest_of_lanes(Vector v) {
  return fold_lanes<sizeof(Vector) / sizeof(v[0]) / 2>(v, [](Vector a, Vector b) { return larger(a, b); });
}

template <class Integers>
inline bool any_lane(Integers mask) {
#if CTCKIT_VECTOR_BYTES == 64
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#else
  const I64 words = (I64)mask;
  std::int64_t any = 0;
  for (int j = 0; j < kLanes; ++j) any |= words[j];
  return any != 0;
#endif
}

// {before's last lane, current's lanes but the last}: the left neighbour of each state.
template <class Vector>
inline Vector shift_up(Vector before, Vector current) {
#if CTCKIT_VECTOR_BYTES == 64
  return __builtin_shufflevector(before, current, 7, 8, 9, 10, 11, 12, 13, 14);
#elif CTCKIT_VECTOR_BYTES == 32
  return __builtin_shufflevector(before, current, 3, 4, 5, 6);
#else
  return __builtin_shufflevector(before, current, 1, 2);
#endif
}

// {current's lanes but the first, after's first lane}: the same for the mirrored problem.
inline F64 shift_down(F64 current, F64 after) {
#if CTCKIT_VECTOR_BYTES == 64
  return __builtin_shufflevector(current, after, 1, 2, 3, 4, 5, 6, 7, 8);
#elif CTCKIT_VECTOR_BYTES == 32
  return __builtin_shufflevector(current, after, 1, 2, 3, 4);
#else
  return __builtin_shufflevector(current, after, 1, 2);
#endif
}

// Between a vector of doubles and half a vector of floats or integers. With intrinsics where GCC's code is slow.
inline F64 widen_half(F32Half v) {
#if CTCKIT_VECTOR_BYTES == 64
  return (F64)_mm512_maskz_cvtps_pd(kAll8, (__m256)v);
#elif CTCKIT_VECTOR_BYTES == 32
  return (F64)_mm256_cvtps_pd((__m128)v);
#else
  return __builtin_convertvector(v, F64);
#endif
}
inline F32Half narrow_half(F64 v) {
#if CTCKIT_VECTOR_BYTES == 64
  return (F32Half)_mm512_maskz_cvtpd_ps(kAll8, (__m512d)v);
#elif CTCKIT_VECTOR_BYTES == 32
  return (F32Half)_mm256_cvtpd_ps((__m256d)v);
#else
  return __builtin_convertvector(v, F32Half);
#endif
}
inline I64 widen_half(I32Half v) {
#if CTCKIT_VECTOR_BYTES == 64
  return (I64)_mm512_maskz_cvtepi32_epi64(kAll8, (__m256i)v);
#elif CTCKIT_VECTOR_BYTES == 32
  return (I64)_mm256_cvtepi32_epi64((__m128i)v);
#else
  return __builtin_convertvector(v, I64);
#endif
}
inline I32Half narrow_half(I64 v) {
#if CTCKIT_VECTOR_BYTES == 64
  return (I32Half)_mm512_maskz_cvtepi64_epi32(kAll8, (__m512i)v);
#else
  return __builtin_convertvector(v, I32Half);
#endif
}
inline F64 load_widened(const double* from) { return load<F64>(from); }
inline F64 load_widened(const float* from) { return widen_half(load<F32Half>(from)); }
template <class Half, class Vector>
inline Half half_of(Vector v, int which) {
  Half halves[2];
  std::memcpy(halves, &v, sizeof v);
  return halves[which];
}
inline void store_narrowed(double* to, F64 value) { store(to, value); }
inline void store_narrowed(float* to, F64 value) { store(to, narrow_half(value)); }
inline void store_widened(double* to, F64 value) { store(to, value); }
inline void store_widened(double* to, F32 value) {
  store(to, widen_half(half_of<F32Half>(value, 0)));
  store(to + kLanes, widen_half(half_of<F32Half>(value, 1)));
}

// Of two rows, the blocks of Distance lanes that belong to the upper (or lower) row of the transposed pair.
template <int Distance, bool kLower, class Vector, std::size_t... Lane>
inline Vector exchange_blocks(Vector a, Vector b, std::index_sequence<Lane...>) {
  constexpr int width = sizeof...(Lane);
  constexpr auto source = [](int lane) {
    const bool from_b = lane / Distance % 2 == 1;
    return kLower ? (from_b ? width + lane : lane + Distance) : (from_b ? width + lane - Distance : lane);
  };
  return __builtin_shufflevector(a, b, source(static_cast<int>(Lane))...);
}

// Transposes a square of as many rows as lanes, in log2(width) rounds. Each exchanges blocks of Distance lanes.
template <int Distance = 1, class Vector, int kWidth>
__attribute__((always_inline)) inline void transpose(Vector (&rows)[kWidth]) {
  using Lanes = std::make_index_sequence<kWidth>;
  static_assert(kWidth * sizeof(rows[0][0]) == sizeof(Vector));
  for (int i = 0; i < kWidth; ++i) {
    if (i / Distance % 2 == 1) continue;
    const Vector a = rows[i], b = rows[i + Distance];
    rows[i] = exchange_blocks<Distance, false>(a, b, Lanes{});
    rows[i + Distance] = exchange_blocks<Distance, true>(a, b, Lanes{});
  }
  if constexpr (2 * Distance < kWidth) transpose<2 * Distance>(rows);
}

// Folds each row of a square into one lane of the result: half the work at every round.
template <int Distance = 1, class Vector, int kWidth, class Fold>
__attribute__((always_inline)) inline Vector fold_rows(Vector (&rows)[kWidth], Fold fold) {
  using Lanes = std::make_index_sequence<kWidth>;
  for (int i = 0; i < kWidth; i += 2 * Distance) {
    const Vector a = rows[i], b = rows[i + Distance];
    rows[i] = fold(exchange_blocks<Distance, false>(a, b, Lanes{}), exchange_blocks<Distance, true>(a, b, Lanes{}));
  }
  if constexpr (2 * Distance < kWidth) {
    return fold_rows<2 * Distance>(rows, fold);
  } else {
    return rows[0];
  }
}

// The processor's floating-point exception flags: whether a product of the current block of frames left the range of a
// double. On x86, subnormal results are flushed to zero during a call: they are harmless, or the block is walked again.
class RangeFlags {
 public:
#if defined(__x86_64__) || defined(_M_X64)
  RangeFlags() : saved_(_mm_getcsr()) { _mm_setcsr((saved_ & ~kSticky) | kFlushToZero | kMaskAll); }
  ~RangeFlags() { _mm_setcsr(saved_); }
  void clear() {  // writes the flags only if one is set: a write takes longer than a read
    if (out_of_range()) _mm_setcsr(_mm_getcsr() & ~kSticky);
    __asm__ volatile("" ::: "memory");  // the block's arithmetic comes after
  }
  bool out_of_range() const { return any_of(kTooLarge | kTooSmall); }
  bool too_large() const { return any_of(kTooLarge); }

 private:
  static bool any_of(unsigned flags) {
    __asm__ volatile("" ::: "memory");  // the stores of the block come first
    return (_mm_getcsr() & flags) != 0;
  }
  static constexpr unsigned kSticky = 0x3f, kTooLarge = 0x09 /* invalid, overflow */, kTooSmall = 0x10;
  static constexpr unsigned kFlushToZero = 0x8000, kMaskAll = 0x1f80;
  unsigned saved_;
#elif defined(__aarch64__)
  RangeFlags() { clear(); }
  void clear() { __asm__ volatile("msr fpsr, xzr" ::: "memory"); }
  bool out_of_range() const { return any_of(0x0d); }  // invalid, overflow, underflow
  bool too_large() const { return any_of(0x05); }

 private:
  static bool any_of(std::uint64_t flags) {
    std::uint64_t status;
    __asm__ volatile("mrs %0, fpsr" : "=r"(status)::"memory");
    return (status & flags) != 0;
  }
#else
#error "ctckit's core knows the floating-point status of x86-64 and arm64 only; use the reference backend elsewhere"
#endif
 public:
  RangeFlags(const RangeFlags&) = delete;
  RangeFlags& operator=(const RangeFlags&) = delete;
};

}  // namespace
}  // namespace ctckit::CTCKIT_ISA
