// What a model costs: parameters, arithmetic, memory. Exact formulas but for the memory, which is an estimate.
#pragma once

#include "models/config.h"

namespace weir {

struct ModelCost {
  std::int64_t parameters = 0;
  std::int64_t active_parameters =
      0;  // that one token uses; the embedding counts as one row, a shared layer as one use of it
  double forward_flops_per_token = 0;   // a multiplication and an addition are two; at full training memory
  double training_flops_per_token = 0;  // three times forward: the backward pass computes two products per product
  std::int64_t weight_bytes = 0;        // weights, gradients and optimiser: what training takes whatever the batch
  std::int64_t training_bytes = 0;      // estimate: weights, gradients, optimiser, and what a step keeps for backward
};

// `batch_size` sequences per step: spreads the position projection over their tokens and scales the activations. The
// optimiser keeps `state_bytes` per parameter; AdamW two moments in float32.
ModelCost model_cost(const ModelConfig& model, const FeedforwardConfig& feedforward, std::int64_t batch_size,
                     double state_bytes = 8);

}  // namespace weir
