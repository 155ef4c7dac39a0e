// What a forward pass needs to know beside its inputs.
#pragma once

#include <cstdint>

#include "core/float32_products.h"
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
  attention_value_mask,
  attention_output_mask,
};

struct ForwardContext {
  bool training = false;  // dropout, expert dropout and regularisers are on
  std::uint64_t seed = 0;
  std::uint32_t step = 0;  // counts forward passes of a run: the same step draws the same numbers
  // Added to `step` by a device's kernels, from its memory; null for none (RandomStream::device_step).
  const std::uint32_t* device_step = nullptr;
  Float32Products products = Float32Products::ieee;  // for every op that multiplies; a model sets it by its precision
  bool collect_statistics = false;                   // fill in the statistics of the feedforwards
  bool analyse = false;  // with it: also those that cost more, pairs of experts and active channels
  // In a layer that is one of several uses of the same parameters:
  bool shared_layer = false;       // hand over what the regularisers need, for one term over all uses
  std::int64_t layers_before = 0;  // added to the layer's number, so that each use draws its own random numbers

  RandomStream random(RandomPlace place, std::int64_t layer = 0) const {
    const auto number = static_cast<std::uint32_t>(layers_before + layer);
    return {seed, number * 16 + static_cast<std::uint32_t>(place), step, device_step};
  }
};

}  // namespace weir
