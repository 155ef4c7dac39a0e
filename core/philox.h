// Random numbers as a function: Philox4x32-10 of (seed, stream, step, element) (Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011). There is no generator state: the same four numbers give the same value on any
// device, thread or rank, so a checkpoint holds the seed and the step and nothing else.
//
// The counter is laid out as cuRAND's device generator lays it out: curand_init(seed, stream << 32 | step, 4 * block).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace weir {

struct Uint4 {
  std::uint32_t x, y, z, w;
};

// Ten rounds over one 128-bit counter.
WEIR_HOST_DEVICE inline Uint4 philox(Uint4 counter, std::uint32_t key_lo, std::uint32_t key_hi) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter.x, p1 = std::uint64_t{0xCD9E8D57u} * counter.z;
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter.y ^ key_lo, static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter.w ^ key_hi, static_cast<std::uint32_t>(p0)};
    key_lo += 0x9E3779B9u;
    key_hi += 0xBB67AE85u;
  }
  return counter;
}

// One stream of random numbers at one step of a run.
struct RandomStream {
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;
  std::uint32_t step = 0;
  // Where a device's kernels find what is to be added to `step`: work that is recorded once and replayed at every step
  // must not hold the step itself. Null for none.
  const std::uint32_t* device_step = nullptr;

  // Device code calls this first: the stream with its step settled.
  WEIR_HOST_DEVICE RandomStream settled() const {
    return device_step == nullptr ? *this : RandomStream{seed, stream, step + *device_step, nullptr};
  }

  // Values 4 * block .. 4 * block + 3.
  WEIR_HOST_DEVICE Uint4 block(std::uint64_t index) const {
    return philox({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), step, stream},
                  static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  }

  WEIR_HOST_DEVICE std::uint32_t bits(std::uint64_t element) const {
    const Uint4 b = block(element / 4);
    switch (element % 4) {
      case 0:
        return b.x;
      case 1:
        return b.y;
      case 2:
        return b.z;
      default:
        return b.w;
    }
  }

  // Uniform in [0, 1): the upper 24 bits, exact in float.
  WEIR_HOST_DEVICE float uniform(std::uint64_t element) const {
    return static_cast<float>(bits(element) >> 8) * 0x1p-24f;
  }

  // Standard normal from the 64 bits of elements 2 * element and 2 * element + 1.
  WEIR_HOST_DEVICE double normal(std::uint64_t element) const {
    return normal_of(bits(2 * element), bits(2 * element + 1));
  }

  // The same from the bits themselves, by Box-Muller.
  WEIR_HOST_DEVICE static double normal_of(std::uint32_t first, std::uint32_t second) {
    const double u = (static_cast<double>(first) + 0.5) * 0x1p-32;  // (0, 1)
    const double v = static_cast<double>(second) * 0x1p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
};

}  // namespace weir
