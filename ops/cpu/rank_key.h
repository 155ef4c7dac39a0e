// Numbers as unsigned keys in the order that selection ranks them, for kernels on all devices.
#pragma once

#include "ops/cpu/kth_largest.h"

namespace weir::cpu {

// As order_key, but NaN below everything, both zeros alike, and no number's key is 0.
template <class T>
constexpr OrderKey<T> rank_key(T value) {
  const auto number = static_cast<accumulate_t<T>>(value);
  if (number != number) return 1;
  return order_key(number == 0 ? T{} : value);
}

// What is added to the logit of a barred expert: it leaves nothing of a logit of ordinary size, so that the barred ones
// are equal, and their order that of their indices.
inline constexpr double kBarred = -1e30;

// The key of an expert's logit.
template <class T>
constexpr OrderKey<T> expert_key(T logit, bool kept) {
  using Value = accumulate_t<T>;
  const auto barred = T(static_cast<Value>(logit) + static_cast<Value>(T(static_cast<Value>(kBarred))));
  return rank_key(kept ? logit : barred);
}

}  // namespace weir::cpu
