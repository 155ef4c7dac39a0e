// Atomic operations on integers, with the types that CUDA has. None on floating point: its sums would depend on the
// order. They order nothing else (relaxed), as on a GPU.
#pragma once

#include <concepts>
#include <type_traits>

template <class T>
concept WeirAtomic = std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, unsigned long long>;
template <class T>
concept WeirOrderedAtomic = WeirAtomic<T> || std::same_as<T, long long>;

// Each returns what stood there before.
template <WeirAtomic T>
T atomicAdd(T* place, std::type_identity_t<T> value) {
  return __atomic_fetch_add(place, value, __ATOMIC_RELAXED);
}
template <WeirAtomic T>
T atomicExch(T* place, std::type_identity_t<T> value) {
  return __atomic_exchange_n(place, value, __ATOMIC_RELAXED);
}
// Writes `value` where `expected` stands.
template <WeirAtomic T>
T atomicCAS(T* place, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  __atomic_compare_exchange_n(place, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <WeirOrderedAtomic T>
T atomicMax(T* place, std::type_identity_t<T> value) {
  T before = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (before < value &&
         !__atomic_compare_exchange_n(place, &before, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}
template <WeirOrderedAtomic T>
T atomicMin(T* place, std::type_identity_t<T> value) {
  T before = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (value < before &&
         !__atomic_compare_exchange_n(place, &before, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}
