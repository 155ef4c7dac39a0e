// Where threads meet, by the CUDA names: barriers, shuffles, votes, reductions of a warp.
#pragma once

#include <bit>
#include <concepts>
#include <functional>
#include <string>
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
inline void __threadfence() { weir::emulator::thread_fence(); }
inline void __threadfence_block() { weir::emulator::thread_fence(); }

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

// combine(a, b) of what all lanes in the mask give, in the order of the lanes.
template <class T, class Combine>
T warp_reduce(unsigned mask, const char* op, Place place, T value, Combine) {
  Block::current().warp_collective(mask, op, place, &value, [](void* const* payloads, unsigned lanes) {
    const int first = std::countr_zero(lanes);
    T total = *static_cast<T*>(payloads[first]);
    for (int lane = first + 1; lane < 32; ++lane)
      if ((lanes >> lane & 1) != 0) total = Combine{}(total, *static_cast<T*>(payloads[lane]));
    for (int lane = 0; lane < 32; ++lane)
      if ((lanes >> lane & 1) != 0) *static_cast<T*>(payloads[lane]) = total;
  });
  return value;
}

template <class T>
struct Match {
  T given;
  unsigned equals;
};

// The lanes that give the same bits.
template <class T>
unsigned match(unsigned mask, const char* op, Place place, T value) {
  Match<T> mine{value, 0};
  Block::current().warp_collective(mask, op, place, &mine, [](void* const* payloads, unsigned lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      if ((lanes >> lane & 1) == 0) continue;
      auto& asks = *static_cast<Match<T>*>(payloads[lane]);
      for (int other = 0; other < 32; ++other)
        if ((lanes >> other & 1) != 0 && static_cast<Match<T>*>(payloads[other])->given == asks.given)
          asks.equals |= 1u << other;
    }
  });
  return mine.equals;
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

template <std::integral T>
unsigned __match_any_sync(unsigned mask, T value, WEIR_HERE) {
  return weir::emulator::match(mask, "__match_any_sync", {file, line}, value);
}

template <class T>
concept WeirReduced = std::same_as<T, int> || std::same_as<T, unsigned>;
template <WeirReduced T>
T __reduce_add_sync(unsigned mask, T value, WEIR_HERE) {
  // As unsigned, for the hardware's sum wraps.
  return static_cast<T>(weir::emulator::warp_reduce(mask, "__reduce_add_sync", {file, line},
                                                    static_cast<unsigned>(value), std::plus<unsigned>()));
}
template <WeirReduced T>
T __reduce_max_sync(unsigned mask, T value, WEIR_HERE) {
  const auto larger = [](T a, T b) { return a < b ? b : a; };
  return weir::emulator::warp_reduce(mask, "__reduce_max_sync", {file, line}, value, larger);
}
template <WeirReduced T>
T __reduce_min_sync(unsigned mask, T value, WEIR_HERE) {
  const auto smaller = [](T a, T b) { return b < a ? b : a; };
  return weir::emulator::warp_reduce(mask, "__reduce_min_sync", {file, line}, value, smaller);
}
