// The device functions that kernels call, by their CUDA names: barriers, warp operations, atomics.
#pragma once

#include <bit>
#include <type_traits>

#include "cuda/emulator/block.h"

#define WEIR_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(WEIR_HERE) { weir::emulator::Block::current().barrier("__syncthreads", {file, line}, false); }
inline int __syncthreads_count(int predicate, WEIR_HERE) {
  return weir::emulator::Block::current().barrier("__syncthreads_count", {file, line}, predicate != 0);
}
inline int __syncthreads_or(int predicate, WEIR_HERE) {
  return weir::emulator::Block::current().barrier("__syncthreads_or", {file, line}, predicate != 0) > 0;
}
inline int __syncthreads_and(int predicate, WEIR_HERE) {
  return weir::emulator::Block::current().barrier("__syncthreads_and", {file, line}, predicate == 0) == 0;
}
inline void __threadfence() {}

namespace weir::emulator {

// What a lane brings to a shuffle: its value, and whose value it wants. `source` outside 0 .. 31 means its own.
template <class T>
struct Shuffle {
  T given, taken;
  int source;
  bool from_outside;
};

template <class T>
T shuffle(unsigned mask, const char* op, Place place, T value, int source) {
  static_assert(std::is_trivially_copyable_v<T>);
  Shuffle<T> mine{value, value, source, false};
  Block::current().warp_collective(mask, op, place, &mine, [](void* const* payloads, unsigned lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      if ((lanes >> lane & 1) == 0) continue;
      auto& wish = *static_cast<Shuffle<T>*>(payloads[lane]);
      if (wish.source < 0 || wish.source > 31) continue;
      wish.from_outside = (lanes >> wish.source & 1) == 0;
      if (!wish.from_outside) wish.taken = static_cast<Shuffle<T>*>(payloads[wish.source])->given;
    }
  });
  if (mine.from_outside)
    Block::current().fail(std::string(op) + " reads lane " + std::to_string(source) + ", which takes no part", place);
  return mine.taken;
}

// The lane of this thread, and the first lane of its segment of `width` lanes.
inline int lane() {
  const unsigned id = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  return static_cast<int>(id % 32);
}
inline int segment(int width) { return lane() / width * width; }

struct Vote {
  bool given;
  unsigned ballot;
};

inline unsigned ballot(unsigned mask, const char* op, Place place, bool predicate) {
  Vote mine{predicate, 0};
  Block::current().warp_collective(mask, op, place, &mine, [](void* const* payloads, unsigned lanes) {
    unsigned all = 0;
    for (int lane = 0; lane < 32; ++lane)
      if ((lanes >> lane & 1) != 0 && static_cast<Vote*>(payloads[lane])->given) all |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane)
      if ((lanes >> lane & 1) != 0) static_cast<Vote*>(payloads[lane])->ballot = all;
  });
  return mine.ballot;
}

}  // namespace weir::emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, WEIR_HERE) {
  using namespace weir::emulator;
  return shuffle(mask, "__shfl_sync", {file, line}, value, segment(width) + (source & (width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, WEIR_HERE) {
  using namespace weir::emulator;
  const int source = lane() ^ lanes;
  return shuffle(mask, "__shfl_xor_sync", {file, line}, value, source < segment(width) + width ? source : -1);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32, WEIR_HERE) {
  using namespace weir::emulator;
  const int source = lane() + static_cast<int>(lanes);
  return shuffle(mask, "__shfl_down_sync", {file, line}, value, source < segment(width) + width ? source : -1);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32, WEIR_HERE) {
  using namespace weir::emulator;
  const int source = lane() - static_cast<int>(lanes);
  return shuffle(mask, "__shfl_up_sync", {file, line}, value, source >= segment(width) ? source : -1);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, WEIR_HERE) {
  return weir::emulator::ballot(mask, "__ballot_sync", {file, line}, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate, WEIR_HERE) {
  return weir::emulator::ballot(mask, "__any_sync", {file, line}, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate, WEIR_HERE) {
  return weir::emulator::ballot(mask, "__all_sync", {file, line}, predicate != 0) == mask;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, WEIR_HERE) {
  weir::emulator::ballot(mask, "__syncwarp", {file, line}, false);
}

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1; }

// Threads of a block never run at the same time here, and blocks that do run on one thread of the system each.
template <class T>
T atomicAdd(T* place, T value) {
  return __atomic_fetch_add(place, value, __ATOMIC_RELAXED);
}
