// Element types: the enumeration, the C++ type behind each, and the visitors that lead from one to the other.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "core/error.h"

namespace weir {

// Brain float: the upper half of a float32. Stored as 16 bits; arithmetic happens in float.
struct bf16 {
  std::uint16_t bits = 0;

  constexpr bf16() = default;
  // Rounds to nearest even; every NaN becomes 0x7fff, as the GPU's conversion does.
  explicit constexpr bf16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = is_nan ? 0x7fff : static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

// IEEE half precision: 1 sign, 5 exponent, 10 mantissa bits, subnormals down to 2^-24. Only kernels use it.
struct fp16 {
  std::uint16_t bits = 0;

  constexpr fp16() = default;
  // Rounds to nearest even; from 65520 on to infinity; every NaN becomes 0x7fff, as the GPU's conversion does.
  constexpr explicit fp16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
    std::uint32_t rounded = 0;
    if (magnitude > 0x7f800000u) {
      bits = 0x7fff;
      return;
    }
    if (magnitude >= 0x477ff000u) {  // 65520
      rounded = 0x7c00;
    } else if (magnitude < 0x38800000u) {  // below 2^-14; the last bit of 0.5f stands for 2^-24, as a subnormal's does
      rounded = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    } else {
      rounded = (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
    }
    bits = static_cast<std::uint16_t>(sign | rounded);
  }
  constexpr operator float() const {
    const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, mantissa = bits & 0x3ffu;
    if (exponent == 0) {
      const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
      return sign != 0 ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | mantissa << 13);
  }
};

enum class DType : std::uint8_t { float64, float32, bf16, int32, int64, uint8, boolean };

std::size_t dtype_size(DType dtype);        // bytes per element
const char* dtype_name(DType dtype);        // "float32", ...
DType dtype_from_name(const std::string&);  // throws ArgumentError with the list of names

constexpr bool is_floating(DType dtype) {
  return dtype == DType::float64 || dtype == DType::float32 || dtype == DType::bf16;
}

// A type as a value, so that a lambda can receive it: [](auto tag) { using T = typename decltype(tag)::type; }
// With C++20 the shorter []<class T>(Type<T>) { ... } reads best.
template <class T>
struct Type {
  using type = T;
};

// The type sums are kept in: float for bf16, otherwise the type itself.
template <class T>
using accumulate_t = std::conditional_t<std::is_same_v<T, bf16>, float, T>;
// The same at run time.
constexpr DType accumulate_dtype(DType dtype) { return dtype == DType::bf16 ? DType::float32 : dtype; }

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, double>) return DType::float64;
  if constexpr (std::is_same_v<T, float>) return DType::float32;
  if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::int32;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::int64;
  if constexpr (std::is_same_v<T, std::uint8_t>) return DType::uint8;
  if constexpr (std::is_same_v<T, bool>) return DType::boolean;
}

namespace detail {
[[noreturn]] void refuse_dtype(const char* where, DType got, const char* allowed);
}

// Calls f(Type<T>{}) for float64, float32 or bf16. `where` names the op in the error message.
template <class F>
decltype(auto) visit_floating(const char* where, DType dtype, F&& f) {
  switch (dtype) {
    case DType::float64:
      return f(Type<double>{});
    case DType::float32:
      return f(Type<float>{});
    case DType::bf16:
      return f(Type<bf16>{});
    default:
      detail::refuse_dtype(where, dtype, "float64, float32 or bf16");
  }
}

// Calls f(Type<T>{}) for int32 or int64.
template <class F>
decltype(auto) visit_index(const char* where, DType dtype, F&& f) {
  switch (dtype) {
    case DType::int32:
      return f(Type<std::int32_t>{});
    case DType::int64:
      return f(Type<std::int64_t>{});
    default:
      detail::refuse_dtype(where, dtype, "int32 or int64");
  }
}

// Calls f(Type<T>{}) for any element type.
template <class F>
decltype(auto) visit_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float64:
      return f(Type<double>{});
    case DType::float32:
      return f(Type<float>{});
    case DType::bf16:
      return f(Type<bf16>{});
    case DType::int32:
      return f(Type<std::int32_t>{});
    case DType::int64:
      return f(Type<std::int64_t>{});
    case DType::uint8:
      return f(Type<std::uint8_t>{});
    case DType::boolean:
      return f(Type<bool>{});
  }
  throw InternalError("unknown dtype");
}

}  // namespace weir
