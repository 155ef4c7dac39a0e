#include "train/training_cost.h"

#include "models/language_model.h"
#include "train/optimizer/optimizer.h"

namespace weir {

ModelCost training_cost(const Config& config) {
  const auto model = make_language_model(config.model, config.feedforward);
  const double state_bytes = optimizer_state_bytes(config.optimizer, model->parameters());
  return model_cost(*model, config.train.batch_size / config.train.accumulate, state_bytes);
}

}  // namespace weir
