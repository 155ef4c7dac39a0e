// The k largest of n keys, found by the 32 lanes of a warp without sorting all: first the k-th largest, built bit by
// bit (ops/cpu/kth_largest.h), then those that reach it are collected, then each counts who comes before it. Keys are
// unsigned; whoever calls maps numbers to them.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "cuda/runtime.h"

namespace weir::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

template <class Key>
struct Candidate {
  Key key;
  std::int32_t id;

  // Of equal keys the lower id comes first.
  __device__ bool comes_before(const Candidate& other) const {
    return key > other.key || (key == other.key && id < other.id);
  }
};

__device__ inline int warp_lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int lanes_before(unsigned lanes) { return __popc(lanes & ((1u << warp_lane()) - 1)); }

// How many i in 0 .. n - 1 have holds(i); all lanes get it.
template <class Holds>
__device__ int warp_count(int n, Holds&& holds) {
  int count = 0;
  for (int i = warp_lane(); i < n; i += kWarp) count += holds(i) ? 1 : 0;
  return __reduce_add_sync(kAllLanes, count);
}

// The largest of the lanes' keys; all lanes get it.
template <class Key>
__device__ Key warp_largest(Key key) {
  if constexpr (sizeof(Key) == 8) {
    const auto upper = static_cast<unsigned>(key >> 32), top = __reduce_max_sync(kAllLanes, upper);
    const unsigned lower = __reduce_max_sync(kAllLanes, upper == top ? static_cast<unsigned>(key) : 0u);
    return static_cast<Key>(top) << 32 | lower;
  } else {
    return static_cast<Key>(__reduce_max_sync(kAllLanes, static_cast<unsigned>(key)));
  }
}

// The place of the largest of keys [n], of equal ones the first, which is set to 0: the next call finds the next one.
// Keys are above 0.
template <class Key>
__device__ int warp_take_largest(Key* keys, int n) {
  Key mine = 0;
  int place = 0x7fffffff;
  for (int i = warp_lane(); i < n; i += kWarp)
    if (keys[i] > mine) mine = keys[i], place = i;
  const Key largest = warp_largest(mine);
  place = __reduce_min_sync(kAllLanes, mine == largest ? place : 0x7fffffff);
  if (place % kWarp == warp_lane()) keys[place] = 0;
  __syncwarp();
  return place;
}

// A key that exactly k of key_at(0) .. key_at(n - 1) reach, or, where the k-th largest has equals among the rest, that
// one. 1 <= k <= n.
template <class Key, class KeyAt>
__device__ Key warp_kth_largest(int n, int k, KeyAt&& key_at) {
  Key threshold = 0;
  for (int bit = 8 * static_cast<int>(sizeof(Key)) - 1; bit >= 0; --bit) {
    const auto raised = static_cast<Key>(threshold | static_cast<Key>(Key(1) << bit));
    const int reached = warp_count(n, [&](int i) { return key_at(i) >= raised; });
    if (reached >= k) threshold = raised;
    if (reached == k) break;
  }
  return threshold;
}

// Writes {key_at(i), i} of the k largest into list [k], by i; of equal ones the lower i are taken.
template <class Key, class KeyAt>
__device__ void warp_collect(int n, int k, KeyAt&& key_at, Candidate<Key>* list) {
  const Key threshold = warp_kth_largest<Key>(n, k, key_at);
  const int equals_wanted = k - warp_count(n, [&](int i) { return key_at(i) > threshold; });
  int taken = 0, equals = 0;
  for (int begin = 0; begin < n; begin += kWarp) {
    const int i = begin + warp_lane();
    const Key key = i < n ? key_at(i) : Key(0);
    const bool equal = i < n && key == threshold;
    const unsigned equal_lanes = __ballot_sync(kAllLanes, equal);
    const bool take = i < n && (key > threshold || (equal && equals + lanes_before(equal_lanes) < equals_wanted));
    const unsigned takers = __ballot_sync(kAllLanes, take);
    if (take) list[taken + lanes_before(takers)] = {key, i};
    taken += __popc(takers);
    equals += __popc(equal_lanes);
  }
  __syncwarp();
}

// Keeps the candidates that reach `threshold`, in their order, and returns how many they are.
template <class Key>
__device__ int warp_keep(Candidate<Key>* list, int n, Key threshold) {
  int kept = 0;
  for (int begin = 0; begin < n; begin += kWarp) {
    const int i = begin + warp_lane();
    const Candidate<Key> candidate = i < n ? list[i] : Candidate<Key>{};
    const unsigned keepers = __ballot_sync(kAllLanes, i < n && candidate.key >= threshold);
    if ((keepers >> warp_lane() & 1) != 0) list[kept + lanes_before(keepers)] = candidate;
    kept += __popc(keepers);
  }
  __syncwarp();
  return kept;
}

// place(rank, candidate) for the k first of list [n].
template <class Key, class Place>
__device__ void warp_rank(const Candidate<Key>* list, int n, int k, Place&& place) {
  for (int i = warp_lane(); i < n; i += kWarp) {
    const Candidate<Key> candidate = list[i];
    int rank = 0;
    for (int other = 0; other < n; ++other) rank += list[other].comes_before(candidate) ? 1 : 0;
    if (rank < k) place(rank, candidate);
  }
  __syncwarp();
}

// Memory of each warp, in shared memory where it fits there.
struct WarpScratch {
  unsigned char* global;  // null: shared memory
  std::int64_t bytes;     // a warp
  int warps;              // a block

  __device__ unsigned char* of_this_warp() const {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    if (global == nullptr) return dynamic_shared<unsigned char>() + warp * bytes;
    return global + (std::int64_t{blockIdx.x} * warps + warp) * bytes;
  }
};

// A launch with a warp for each row, and the memory that its warps want.
struct WarpLaunch {
  LaunchShape shape;
  WarpScratch scratch;
  Tensor global;  // what scratch.global points into
};

inline WarpLaunch warp_launch(Device device, std::int64_t rows, std::int64_t bytes) {
  constexpr int kWarps = 4;
  constexpr std::int64_t kSharedBytes = 48 * 1024, kGlobalBlocks = 512;
  bytes = (bytes + 15) / 16 * 16;
  WarpLaunch result{{blocks_for(rows, kWarps), kWarps * kWarp}, {nullptr, bytes, kWarps}, {}};
  if (bytes * kWarps <= kSharedBytes) {
    result.shape.dynamic_shared_bytes = static_cast<std::size_t>(bytes * kWarps);
  } else {
    result.shape.grid.x = std::min(result.shape.grid.x, static_cast<unsigned>(kGlobalBlocks));
    result.global = Tensor::empty({std::int64_t{result.shape.grid.x} * kWarps * bytes}, DType::uint8, device);
    result.scratch.global = result.global.data<std::uint8_t>();
  }
  return result;
}

}  // namespace weir::cuda
