#include "train/training_cost.h"

#include "models/transformer_xl.h"
#include "train/optimizer/optimizer.h"

namespace weir {

ModelCost training_cost(const Config& config) {
  const TransformerXl declared(config.model, config.feedforward);
  return model_cost(config.model, config.feedforward, config.train.batch_size / config.train.accumulate,
                    optimizer_state_bytes(config.optimizer, declared.parameters()));
}

}  // namespace weir
