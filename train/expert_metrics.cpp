#include "train/expert_metrics.h"

#include <cmath>
#include <numeric>
#include <string>

namespace weir {
namespace {

constexpr std::size_t kSeriesLimit = 8;

double usage_entropy(std::span<const std::int64_t> counts) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double entropy = 0;
  for (std::int64_t count : counts)
    if (count > 0) entropy -= static_cast<double>(count) / total * std::log(static_cast<double>(count) / total);
  return counts.size() > 1 ? entropy / std::log(static_cast<double>(counts.size())) : 1;
}

}  // namespace

void append_expert_metrics(std::vector<Metric>& metrics, std::span<const FeedforwardStatistics> layers) {
  double entropy_sum = 0, dead = 0, with_experts = 0;
  std::vector<Metric> per_layer;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& counts = layers[i].expert_counts;
    if (counts.empty()) continue;
    const double entropy = usage_entropy(counts);
    entropy_sum += entropy;
    ++with_experts;
    for (std::int64_t count : counts) dead += count == 0;
    if (i < kSeriesLimit) per_layer.push_back({"experts/usage_entropy/layer" + std::to_string(i), entropy});
  }
  if (with_experts == 0) return;
  metrics.push_back({"experts/usage_entropy", entropy_sum / with_experts});
  metrics.push_back({"experts/dead", dead});
  metrics.insert(metrics.end(), per_layer.begin(), per_layer.end());
}

}  // namespace weir
