// Weir's random bits against cuRAND's own generator, whose headers a host compiler takes as well.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cuda_runtime.h>

#define QUALIFIERS [[maybe_unused]] static inline
#include <curand_kernel.h>

#include "core/philox.h"

TEST_CASE("philox: bits are cuRAND's at the same seed, subsequence and offset") {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{42}, std::uint64_t{0x0123456789abcdef}})
    for (const std::uint32_t stream : {0u, 1u, 7u, 0xffffffffu})
      for (const std::uint32_t step : {0u, 1u, 1000u, 0xfffffffeu})
        for (const std::uint64_t element : {std::uint64_t{0}, std::uint64_t{6}, std::uint64_t{1} << 33}) {
          const weir::RandomStream random{seed, stream, step};
          curandStatePhilox4_32_10_t state;
          curand_init(seed, std::uint64_t{stream} << 32 | step, element, &state);
          INFO(seed, " ", stream, " ", step, " ", element);
          for (std::uint64_t i = 0; i < 9; ++i) CHECK(random.bits(element + i) == curand(&state));
        }
}
