// Which elements dropout keeps, several to a thread (on the CPU: ops/cpu/keep.h).
#pragma once

#include <cstdint>

#include "core/philox.h"
#include "cuda/device.h"

namespace weir::cuda {

// Bit i is set where the upper 24 bits of value first + i of a settled stream reach the threshold; n is a multiple of
// 4. One Philox block serves four values, so n / 4 are drawn, and one more where `first` is no multiple of 4.
template <int n>
__device__ unsigned kept(const RandomStream& random, std::uint64_t first, std::uint32_t threshold) {
  const int skip = static_cast<int>(first % 4);
  unsigned bits = 0;
  for (int b = 0; b < n / 4 + (skip != 0 ? 1 : 0); ++b) {
    const Uint4 v = random.block(first / 4 + static_cast<std::uint64_t>(b));
    const unsigned four = (v.x >> 8 >= threshold ? 1u : 0u) | (v.y >> 8 >= threshold ? 2u : 0u) |
                          (v.z >> 8 >= threshold ? 4u : 0u) | (v.w >> 8 >= threshold ? 8u : 0u);
    bits |= four << 4 * b;
  }
  return bits >> skip;
}

}  // namespace weir::cuda
