#include "models/feedforward_share.h"

#include <algorithm>

#include "models/feedforward.h"

namespace weir {
namespace {

FeedforwardCost cost_of(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  ParameterSet declared;
  return make_feedforward(declared, "ff", 0, model, feedforward)->cost();
}

}  // namespace

std::int64_t matched_d_ff(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  if (feedforward.kind == "dense" || feedforward.kind == "gelu" || feedforward.kind == "top-k") return feedforward.d_ff;
  const std::int64_t wanted = cost_of(model, feedforward).total_parameters - model.d_model;
  const std::int64_t per_unit = 2 * model.d_model + 1;  // a row of W1, its bias, a column of W2
  return std::max<std::int64_t>(1, (wanted + per_unit / 2) / per_unit);
}

double flops_percent(const ModelConfig& model, const FeedforwardConfig& feedforward, std::int64_t d_ff) {
  return 100 * cost_of(model, feedforward).multiply_adds / static_cast<double>(2 * model.d_model * d_ff);
}

std::optional<double> paper_flops_percent(const FeedforwardConfig& feedforward) {
  if (feedforward.kind == "dense") return 100.0;
  if (feedforward.kind != "moe") return {};
  return 100 * static_cast<double>(feedforward.k) / static_cast<double>(feedforward.experts);
}

}  // namespace weir
