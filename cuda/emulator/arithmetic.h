// CUDA's functions of one thread that C++ lacks: bits, minima and maxima, fast approximations (here the exact
// functions).
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>

#include "cuda/emulator/language.h"

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __popcll(unsigned long long bits) { return std::popcount(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline int __clzll(long long bits) { return std::countl_zero(static_cast<unsigned long long>(bits)); }
// The lowest bit that is set, counted from 1; 0 where there is none.
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }

inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }

// Reads through the read-only cache. The types are those that the toolkit has.
template <class T>
concept WeirReadOnly = std::is_arithmetic_v<T> || std::same_as<T, float2> || std::same_as<T, float4> ||
    std::same_as<T, int2> || std::same_as<T, int4> || std::same_as<T, uint2> || std::same_as<T, uint4>;
template <WeirReadOnly T>
T __ldg(const T* place) {
  return *place;
}

// Of a number and a NaN both give the number, unlike std::min.
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
template <std::integral T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <std::integral T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}

inline float weir_rsqrtf(float value) { return 1.0f / std::sqrt(value); }
// Macros, for the C library has functions of these names.
#define rsqrtf(value) weir_rsqrtf(value)
#define __expf(value) expf(value)
#define __logf(value) logf(value)
