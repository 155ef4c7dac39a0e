#include "train/expert_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace weir {
namespace {

constexpr std::size_t kSeriesLimit = 8;

double usage_entropy(std::span<const std::int64_t> counts, double total) {
  double entropy = 0;
  for (std::int64_t count : counts)
    if (count > 0) entropy -= static_cast<double>(count) / total * std::log(static_cast<double>(count) / total);
  return counts.size() > 1 ? entropy / std::log(static_cast<double>(counts.size())) : 1;
}

}  // namespace

ExpertUsage expert_usage(std::span<const std::int64_t> counts) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  const double fair = std::max(total, 1.0) / static_cast<double>(counts.size());
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  return {.entropy = usage_entropy(counts, total),
          .utilisation_min = static_cast<double>(*least) / fair,
          .utilisation_max = static_cast<double>(*most) / fair,
          .dead = std::count(counts.begin(), counts.end(), 0)};
}

void append_expert_metrics(std::vector<Metric>& metrics, std::span<const FeedforwardStatistics> layers) {
  double entropy_sum = 0, layers_with_experts = 0, experts = 0;
  ExpertUsage all{.utilisation_min = INFINITY, .utilisation_max = 0};
  double gate_min = INFINITY, gate_max = -INFINITY;
  std::vector<Metric> per_layer;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& counts = layers[i].expert_counts;
    if (counts.empty()) continue;
    const ExpertUsage usage = expert_usage(counts);
    ++layers_with_experts;
    experts += static_cast<double>(counts.size());
    entropy_sum += usage.entropy;
    all.dead += usage.dead;
    all.utilisation_min = std::min(all.utilisation_min, usage.utilisation_min);
    all.utilisation_max = std::max(all.utilisation_max, usage.utilisation_max);
    gate_min = std::min(gate_min, layers[i].smallest_gate);
    gate_max = std::max(gate_max, layers[i].largest_gate);
    if (i < kSeriesLimit) per_layer.push_back({"experts/usage_entropy/layer" + std::to_string(i), usage.entropy});
  }
  if (layers_with_experts == 0) return;
  const auto dead = static_cast<double>(all.dead);
  metrics.push_back({"experts/usage_entropy", entropy_sum / layers_with_experts});
  metrics.push_back({"experts/dead", dead});
  metrics.push_back({"experts/active", 1 - dead / experts});
  metrics.push_back({"experts/utilisation_min", all.utilisation_min});
  metrics.push_back({"experts/utilisation_max", all.utilisation_max});
  metrics.push_back({"experts/gate_min", gate_min});
  metrics.push_back({"experts/gate_max", gate_max});
  metrics.insert(metrics.end(), per_layer.begin(), per_layer.end());
}

}  // namespace weir
