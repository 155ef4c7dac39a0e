#include "models/feedforward_share.h"

#include <algorithm>

#include "core/gradient_mode.h"
#include "core/kernel_cost.h"
#include "models/feedforward.h"

namespace weir {
namespace {

struct Declared {
  ParameterSet parameters;
  std::unique_ptr<Feedforward> feedforward;

  Declared(const ModelConfig& model, const FeedforwardConfig& config)
      : feedforward(make_feedforward(parameters, "ff", 0, model, config)) {}
};

}  // namespace

std::int64_t matched_d_ff(const ModelConfig& model, const FeedforwardConfig& feedforward) {
  if (feedforward.kind == "dense" || feedforward.kind == "gelu" || feedforward.kind == "top-k") return feedforward.d_ff;
  const std::int64_t wanted = Declared(model, feedforward).parameters.count() - model.d_model;
  const std::int64_t per_unit = 2 * model.d_model + 1;  // a row of W1, its bias, a column of W2
  return std::max<std::int64_t>(1, (wanted + per_unit / 2) / per_unit);
}

double flops_percent(const ModelConfig& model, const FeedforwardConfig& feedforward, std::int64_t d_ff) {
  constexpr Device meta{DeviceKind::meta};
  constexpr std::int64_t kTokens = 64;
  Declared declared(model, feedforward);
  declared.parameters.allocate(DType::float32, 0, meta);
  const NoGradient guard;
  const Tensor x = Tensor::empty({1, kTokens, model.d_model}, DType::float32, meta);
  return 100 * cost_of([&] { (*declared.feedforward)(x, {}); }).flops /
         static_cast<double>(kTokens * 4 * model.d_model * d_ff);
}

std::optional<double> paper_flops_percent(const FeedforwardConfig& feedforward) {
  if (feedforward.kind == "dense") return 100.0;
  if (feedforward.kind != "moe") return {};
  return 100 * static_cast<double>(feedforward.k) / static_cast<double>(feedforward.experts);
}

}  // namespace weir
