// How much a feedforward computes, as a share of a dense one.
#pragma once

#include <optional>

#include "models/config.h"

namespace weir {

// Hidden units of the dense feedforward with as many parameters.
std::int64_t matched_d_ff(const ModelConfig& model, const FeedforwardConfig& feedforward);

// Multiplications of the forward pass in percent of those of a dense feedforward with `d_ff` hidden units, router or
// sub-keys included.
double flops_percent(const ModelConfig& model, const FeedforwardConfig& feedforward, std::int64_t d_ff);

// As the paper counts: 100 for dense, 100 K / E for experts, whose router it leaves out; it gives none for the others.
std::optional<double> paper_flops_percent(const FeedforwardConfig& feedforward);

}  // namespace weir
