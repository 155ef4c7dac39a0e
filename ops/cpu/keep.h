// Which elements dropout keeps, many at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/dtype.h"
#include "core/philox.h"

namespace weir::cpu {

inline constexpr int kPhiloxLanes = 32;                // Philox blocks computed side by side, one per vector lane
inline constexpr int kPhiloxGroup = 4 * kPhiloxLanes;  // the values they give

// The upper 24 bits of kPhiloxGroup values from `first` on, which is a multiple of 4.
void philox_group(const RandomStream& random, std::uint64_t first, std::uint32_t* bits);
// The same for any processor.
void plain_philox_group(const RandomStream& random, std::uint64_t first, std::uint32_t* bits);

// u >= p exactly where the upper 24 bits of u are this or more.
inline std::uint32_t keep_threshold(double p) { return static_cast<std::uint32_t>(std::ceil(p * 0x1p24)); }

// Calls piece(begin, n, keep) for pieces that cover elements first .. first + count - 1; keep[i] != 0 where element
// first + begin + i is kept.
template <class F>
void for_kept_run(std::uint64_t first, std::int64_t count, double p, const RandomStream& random, F&& piece) {
  const std::uint32_t threshold = keep_threshold(p);
  std::uint32_t bits[kPhiloxGroup];
  auto skip = static_cast<std::int64_t>(first % 4);
  for (std::int64_t begin = 0; begin < count; skip = 0) {
    philox_group(random, first + static_cast<std::uint64_t>(begin - skip), bits);
    for (std::uint32_t& b : bits) b = b >= threshold ? 1 : 0;
    const std::int64_t n = std::min<std::int64_t>(kPhiloxGroup - skip, count - begin);
    piece(begin, n, bits + skip);
    begin += n;
  }
}

// to[i] = from[i] * scale where keep[i] != 0, else 0; `to` may be `from`.
template <class T>
void scale_kept(std::int64_t n, const std::uint32_t* keep, accumulate_t<T> scale, const T* from, T* to) {
  using Value = accumulate_t<T>;
  const auto chosen = [scale](T value, std::uint32_t kept) {
    const Value scaled = static_cast<Value>(value) * scale;
    return T(kept != 0 ? scaled : Value(0));
  };
  if (to == from)  // a loop of its own: vectorised loops ask whether their pointers may overlap
    for (std::int64_t i = 0; i < n; ++i) to[i] = chosen(to[i], keep[i]);
  else
    for (std::int64_t i = 0; i < n; ++i) to[i] = chosen(from[i], keep[i]);
}

// to[i] = base[i] + from[i] * scale where keep[i] != 0, else base[i]. What is dropped is chosen ahead of the product,
// so that product and sum may be one instruction, wherever in a row the element stands.
template <class T>
void add_scaled_kept(std::int64_t n, const std::uint32_t* keep, accumulate_t<T> scale, const T* base, const T* from,
                     T* to) {
  using Value = accumulate_t<T>;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto added = static_cast<Value>(from[i]);
    to[i] = T(static_cast<Value>(base[i]) + (keep[i] != 0 ? added : Value(0)) * scale);
  }
}

// Dropout of a row that is elements first .. first + cols - 1 of the stream; p above 0; `to` may be `from`.
template <class T>
void dropout_row(std::int64_t cols, std::uint64_t first, double p, const RandomStream& random, const T* from, T* to) {
  const auto scale = static_cast<accumulate_t<T>>(1 / (1 - p));
  for_kept_run(first, cols, p, random, [=](std::int64_t begin, std::int64_t n, const std::uint32_t* keep) {
    scale_kept(n, keep, scale, from + begin, to + begin);
  });
}

// base plus that; p may be 0.
template <class T>
void add_dropout_row(std::int64_t cols, std::uint64_t first, double p, const RandomStream& random, const T* base,
                     const T* from, T* to) {
  using Value = accumulate_t<T>;
  if (p == 0) {
    for (std::int64_t c = 0; c < cols; ++c) to[c] = T(static_cast<Value>(base[c]) + static_cast<Value>(from[c]));
    return;
  }
  const auto scale = static_cast<Value>(1 / (1 - p));
  for_kept_run(first, cols, p, random, [=](std::int64_t begin, std::int64_t n, const std::uint32_t* keep) {
    add_scaled_kept(n, keep, scale, base + begin, from + begin, to + begin);
  });
}

}  // namespace weir::cpu
