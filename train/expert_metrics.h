// What the experts do, as metrics: how evenly they are used, and how many are not used at all.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/statistics.h"
#include "train/metrics.h"

namespace weir {

// How one layer's selections are spread over its experts.
struct ExpertUsage {
  double entropy = 1;  // of the selection shares, over that of equal shares: 1 is even, 0 is one expert
  double utilisation_min = 1, utilisation_max = 1;  // selections of an expert over the fair share; 0 is dead
  std::int64_t dead = 0;                            // experts without any selection
};
ExpertUsage expert_usage(std::span<const std::int64_t> counts);  // at least one expert

// Adds, over the layers that have experts: experts/usage_entropy (their mean), experts/dead (summed), experts/active
// (share of the experts that were selected), experts/utilisation_min and _max, experts/gate_min and _max (extremes of
// all layers), and the entropy of each of the first 8 layers, experts/usage_entropy/layerN.
void append_expert_metrics(std::vector<Metric>& metrics, std::span<const FeedforwardStatistics> layers);

}  // namespace weir
