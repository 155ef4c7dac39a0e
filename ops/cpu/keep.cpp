// Philox for many blocks at a time. Without `simd` the compiler takes the short loops apart before it looks for vectors
// in them.
#include "ops/cpu/keep.h"

namespace weir::cpu {

void philox_group(const RandomStream& random, std::uint64_t first, std::uint32_t* bits) {
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

}  // namespace weir::cpu
