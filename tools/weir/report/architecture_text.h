// A model in words.
#pragma once

#include <string>

#include "models/config.h"

namespace weir {

// What tells it from other models: "σ-MoE, 8 experts of 64, 2 per token"; "dense, 513 hidden units"; before it
// "SwitchHead attention, 2 of 4 experts per head" and "2 shared layers" where that is so.
std::string architecture_text(const ModelConfig& model, const FeedforwardConfig& feedforward);

}  // namespace weir
