// Packs: neighbouring elements that one instruction loads or stores, 16 bytes where nothing else is said.
//
// A pack lives in registers as long as its elements are named by constants: so loops over them run to n, never to the
// number that are there, and leave the rest out by a condition or let it be zero.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "cuda/device.h"

namespace weir::cuda {

template <class T>
inline constexpr int kPack = static_cast<int>(16 / sizeof(T));

template <class T, int n = kPack<T>>
struct alignas(sizeof(T) * n) Pack {
  T values[n];
};

// Elements of a pack, `step` apart, of which `count` are there and the rest zero; step 0 repeats one. One load if
// `vectors`, which says that the place is a multiple of the pack's size where the step is 1.
template <class T, int n>
__device__ Pack<T, n> load_pack(const T* place, std::int64_t step, int count, bool vectors) {
  if (vectors && step == 1 && count == n) return *reinterpret_cast<const Pack<T, n>*>(place);
  Pack<T, n> pack = {};
  for (int i = 0; i < n; ++i)
    if (i < count) pack.values[i] = place[i * step];
  return pack;
}

// The reverse; `vectors` says beside it that the step is 1.
template <class T, int n>
__device__ void store_pack(T* place, std::int64_t step, int count, bool vectors, const Pack<T, n>& pack) {
  if (vectors && count == n) {
    *reinterpret_cast<Pack<T, n>*>(place) = pack;
  } else {
    for (int i = 0; i < n; ++i)
      if (i < count) place[i * step] = pack.values[i];
  }
}

// True where the place is a multiple of the size of n elements.
template <int n, class T>
bool packs_begin_at(const T* place) {
  return reinterpret_cast<std::uintptr_t>(place) % (sizeof(T) * n) == 0;
}
// True where every row begins at such a place.
template <int n, class T>
bool rows_hold_packs_of(const Rows<T>& rows) {
  return rows.stride % n == 0 && packs_begin_at<n>(rows.data);
}
// True where the rows of all matrices begin at multiples of 16 bytes.
template <class... T>
bool rows_hold_packs(const Rows<T>&... rows) {
  return (rows_hold_packs_of<kPack<T>>(rows) && ...);
}

}  // namespace weir::cuda
