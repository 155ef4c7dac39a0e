// What a model costs: parameters, arithmetic, memory. Counted by running a step of it on the meta device, where tensors
// have shapes and nothing is computed: so a new model, feedforward or op says nothing about it.
#pragma once

#include "models/config.h"

namespace weir {

struct ModelCost {
  std::int64_t parameters = 0;
  std::int64_t active_parameters = 0;   // that one token uses (LanguageModel::active_parameters)
  double forward_flops_per_token = 0;   // of products; a multiplication and an addition are two; at full memory
  double training_flops_per_token = 0;  // three times forward: the backward pass computes two products per product
  std::int64_t weight_bytes = 0;        // weights, gradients and optimiser: what training takes whatever the batch
  std::int64_t training_bytes = 0;      // and the most that the tensors of a step take beside them; kernels may need
                                        // more for themselves
};

class LanguageModel;

// `batch_size` sequences per step, which share what is computed once per segment. The optimiser keeps `state_bytes` per
// parameter; AdamW two moments in float32. Throws ArgumentError where settings do not fit each other.
ModelCost model_cost(const ModelConfig& model, const FeedforwardConfig& feedforward, std::int64_t batch_size,
                     double state_bytes = 8);
// Of a model that is declared and has no values yet; its parameters are on the meta device afterwards.
ModelCost model_cost(LanguageModel& declared, std::int64_t batch_size, double state_bytes);

}  // namespace weir
