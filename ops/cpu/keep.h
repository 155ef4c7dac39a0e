// Which elements dropout keeps, many at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/philox.h"

namespace weir::cpu {

inline constexpr int kPhiloxLanes = 16;                // Philox blocks computed side by side, one per vector lane
inline constexpr int kPhiloxGroup = 4 * kPhiloxLanes;  // the values they give

// The upper 24 bits of values first .. first + 63; `first` is a multiple of 4. Without the pragmas gcc unrolls the
// loops over lanes before it looks for vectors, and finds none.
inline void philox_group(const RandomStream& random, std::uint64_t first, std::uint32_t* bits) {
  std::uint32_t x[kPhiloxLanes], y[kPhiloxLanes], z[kPhiloxLanes], w[kPhiloxLanes];
#pragma omp simd
  for (int l = 0; l < kPhiloxLanes; ++l) {
    const std::uint64_t block = first / 4 + static_cast<std::uint64_t>(l);
    x[l] = static_cast<std::uint32_t>(block), y[l] = static_cast<std::uint32_t>(block >> 32);
    z[l] = random.step, w[l] = random.stream;
  }
  auto key_lo = static_cast<std::uint32_t>(random.seed), key_hi = static_cast<std::uint32_t>(random.seed >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (int l = 0; l < kPhiloxLanes; ++l) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * x[l], p1 = std::uint64_t{0xCD9E8D57u} * z[l];
      x[l] = static_cast<std::uint32_t>(p1 >> 32) ^ y[l] ^ key_lo;
      y[l] = static_cast<std::uint32_t>(p1);
      z[l] = static_cast<std::uint32_t>(p0 >> 32) ^ w[l] ^ key_hi;
      w[l] = static_cast<std::uint32_t>(p0);
    }
    key_lo += 0x9E3779B9u;
    key_hi += 0xBB67AE85u;
  }
#pragma omp simd
  for (int l = 0; l < kPhiloxLanes; ++l) {
    bits[4 * l] = x[l] >> 8, bits[4 * l + 1] = y[l] >> 8;
    bits[4 * l + 2] = z[l] >> 8, bits[4 * l + 3] = w[l] >> 8;
  }
}

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

}  // namespace weir::cpu
