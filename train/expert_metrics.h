// What the experts do, as metrics: how evenly they are used, and how many are not used at all.
#pragma once

#include <span>
#include <vector>

#include "models/feedforward.h"
#include "train/metrics.h"

namespace weir {

// Adds, over the layers that have experts: experts/usage_entropy (mean of the entropy of the selection shares over the
// entropy of equal shares: 1 is even, 0 is one expert), experts/dead (experts without any selection, summed), and the
// entropy of each of the first 8 layers, experts/usage_entropy/layerN.
void append_expert_metrics(std::vector<Metric>& metrics, std::span<const FeedforwardStatistics> layers);

}  // namespace weir
