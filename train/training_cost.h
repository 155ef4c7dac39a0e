// What training takes on a device, its optimiser included.
#pragma once

#include "models/model_cost.h"
#include "train/config.h"

namespace weir {

// Of one group of streams, as a step computes them one after the other.
ModelCost training_cost(const Config& config);

}  // namespace weir
