// What a forward pass needs to know beside its inputs.
#pragma once

#include <cstdint>

#include "core/philox.h"

namespace weir {

// Where random numbers are drawn; with the layer it names a stream, so no two places share numbers. At most 16.
enum class RandomPlace : std::uint32_t {
  embedding,
  attention_output,
  hidden,
  feedforward_output,
  expert_mask,
  expert_hidden,
  output,
  sampling,
  router_noise,
  random_expert,
};

struct ForwardContext {
  bool training = false;  // dropout, expert dropout and regularisers are on
  std::uint64_t seed = 0;
  std::uint32_t step = 0;           // counts forward passes of a run: the same step draws the same numbers
  bool collect_statistics = false;  // fill in the statistics of the feedforwards
  bool analyse = false;             // with it: also those that cost more, pairs of experts and active channels

  RandomStream random(RandomPlace place, std::int64_t layer = 0) const {
    return {seed, static_cast<std::uint32_t>(layer) * 16 + static_cast<std::uint32_t>(place), step};
  }
};

}  // namespace weir
