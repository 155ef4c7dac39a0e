// The k-th largest of a row without sorting it, for CPU kernels.
//
// Floating numbers become unsigned keys of the same order, and the answer is built bit by bit from the top: a bit stays
// where at least k keys are as large. Each bit is one pass that counts, which the compiler turns into vector
// instructions; partitioning the row instead would be one mispredicted branch after another.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "core/dtype.h"

namespace weir::cpu {

template <class T>
using OrderKey =
    std::conditional_t<sizeof(T) == 8, std::uint64_t, std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint16_t>>;

// a < b as numbers where order_key(a) < order_key(b). NaN comes above everything, -0 below 0.
template <class T>
constexpr OrderKey<T> order_key(T value) {
  using Key = OrderKey<T>;
  constexpr auto kSign = static_cast<Key>(Key(1) << (8 * sizeof(T) - 1));
  const auto bits = std::bit_cast<Key>(value);
  const auto key = static_cast<Key>(bits & kSign ? ~bits : bits | kSign);
  const auto number = static_cast<accumulate_t<T>>(value);
  return number != number ? static_cast<Key>(~Key(0)) : key;
}

// A key that exactly the k largest of n keys reach; or, where the k-th has equals among the rest, the k-th largest
// itself. 1 <= k <= n.
template <class Key>
Key kth_largest(const Key* keys, std::int64_t n, std::int64_t k) {
  Key threshold = 0;
  for (int bit = 8 * static_cast<int>(sizeof(Key)) - 1; bit >= 0; --bit) {
    const auto raised = static_cast<Key>(threshold | static_cast<Key>(Key(1) << bit));
    std::int32_t reached = 0;
    for (std::int64_t i = 0; i < n; ++i) reached += keys[i] >= raised;
    if (reached >= k) threshold = raised;
    if (reached == k) break;
  }
  return threshold;
}

}  // namespace weir::cpu
