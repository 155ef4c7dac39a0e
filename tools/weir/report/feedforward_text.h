// A feedforward in words.
#pragma once

#include <string>

#include "models/config.h"

namespace weir {

// "σ-MoE, 8 experts of 64, 2 per token"; "dense, 513 hidden units".
std::string feedforward_text(const FeedforwardConfig& config);

}  // namespace weir
