// Philox for many blocks at a time.
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 sees one in its own intrinsics
#endif
#include "ops/cpu/keep.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace weir::cpu {
namespace {

constexpr std::uint32_t kFactor0 = 0xD2511F53, kFactor1 = 0xCD9E8D57, kKeyStepLow = 0x9E3779B9,
                        kKeyStepHigh = 0xBB67AE85;

}  // namespace

// Without `simd` the compiler takes the short loops apart before it looks for vectors in them.
void plain_philox_group(const RandomStream& random, std::uint64_t first, std::uint32_t* bits) {
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
      const std::uint64_t p0 = std::uint64_t{kFactor0} * x[l], p1 = std::uint64_t{kFactor1} * z[l];
      x[l] = static_cast<std::uint32_t>(p1 >> 32) ^ y[l] ^ key_lo;
      y[l] = static_cast<std::uint32_t>(p1);
      z[l] = static_cast<std::uint32_t>(p0 >> 32) ^ w[l] ^ key_hi;
      w[l] = static_cast<std::uint32_t>(p0);
    }
    key_lo += kKeyStepLow;
    key_hi += kKeyStepHigh;
  }
#pragma omp simd
  for (int l = 0; l < kPhiloxLanes; ++l) {
    bits[4 * l] = x[l] >> 8, bits[4 * l + 1] = y[l] >> 8;
    bits[4 * l + 2] = z[l] >> 8, bits[4 * l + 3] = w[l] >> 8;
  }
}

#if defined(__AVX512F__)

namespace {

constexpr int kVectors = kPhiloxLanes / 8;

// The first words of the pairs from the low halves of `low`, the second ones from those of `high`.
__m512i paired(__m512i low, __m512i high) { return _mm512_mask_blend_epi32(0xAAAA, low, _mm512_slli_epi64(high, 32)); }

}  // namespace

// Each word of a block has 64 bits, of which only the lower 32 count: the instruction that multiplies two words takes
// the lower halves, and leaves both halves of the product where the next round wants them. Compilers do not find it.
void philox_group(const RandomStream& random, std::uint64_t first, std::uint32_t* bits) {
  constexpr int kXorOfThree = 0x96;
  const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
  const auto all = [](std::uint64_t word) { return _mm512_set1_epi64(static_cast<std::int64_t>(word)); };
  __m512i x[kVectors], y[kVectors], z[kVectors], w[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    x[v] = _mm512_add_epi64(all(first / 4 + 8 * static_cast<std::uint64_t>(v)), lanes);
    y[v] = _mm512_srli_epi64(x[v], 32);
    z[v] = all(random.step), w[v] = all(random.stream);
  }
  auto key_lo = static_cast<std::uint32_t>(random.seed), key_hi = static_cast<std::uint32_t>(random.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int v = 0; v < kVectors; ++v) {
      const __m512i p0 = _mm512_mul_epu32(all(kFactor0), x[v]), p1 = _mm512_mul_epu32(all(kFactor1), z[v]);
      x[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), y[v], all(key_lo), kXorOfThree);
      y[v] = p1;
      z[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), w[v], all(key_hi), kXorOfThree);
      w[v] = p0;
    }
    key_lo += kKeyStepLow;
    key_hi += kKeyStepHigh;
  }
  for (int v = 0; v < kVectors; ++v) {
    const __m512i xy = _mm512_srli_epi32(paired(x[v], y[v]), 8), zw = _mm512_srli_epi32(paired(z[v], w[v]), 8);
    const __m512i even = _mm512_unpacklo_epi64(xy, zw), odd = _mm512_unpackhi_epi64(xy, zw);  // blocks
    _mm512_storeu_si512(bits + 32 * v,
                        _mm512_permutex2var_epi64(even, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), odd));
    _mm512_storeu_si512(bits + 32 * v + 16,
                        _mm512_permutex2var_epi64(even, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), odd));
  }
}

#else

void philox_group(const RandomStream& random, std::uint64_t first, std::uint32_t* bits) {
  plain_philox_group(random, first, bits);
}

#endif

}  // namespace weir::cpu
