#include "models/product_key_memory.h"

#include <cmath>

#include "core/error.h"
#include "models/initialise.h"
#include "ops/linear.h"
#include "ops/outer_sum.h"
#include "ops/permute.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "ops/sum.h"

namespace weir {
namespace {

Initialiser normal_of(const ModelConfig& model, std::int64_t fan_in) {
  return initialise::normal(std::sqrt(2.0 / static_cast<double>(model.layers * fan_in)));
}

}  // namespace

ProductKeyMemory::ProductKeyMemory(ParameterSet& parameters, const std::string& name, std::int64_t,
                                   const ModelConfig& model, const FeedforwardConfig& config)
    : config_(config),
      keys_a_(parameters.add(name + ".keys_a", {config.key_heads, config.sub_keys, model.d_model / 2},
                             normal_of(model, model.d_model))),
      keys_b_(parameters.add(name + ".keys_b", {config.key_heads, config.sub_keys, model.d_model / 2},
                             normal_of(model, model.d_model))),
      values_(parameters.add(
          name + ".values", {config.sub_keys * config.sub_keys, model.d_model},
          normal_of(model, config.init == "standard" ? model.d_model : config.sub_keys * config.sub_keys))) {}

FeedforwardOutput ProductKeyMemory::operator()(const Tensor& x, const ForwardContext&) const {
  if (!uses_all()) throw ArgumentError("feedforward.k: a k below feedforward.sub_keys is not there yet");
  const std::int64_t half = x.size(-1) / 2;
  return {all_values(slice(x, -1, 0, half), slice(x, -1, half, 2 * half)), {}, {}};
}

// The heads' scores are added, so their keys may be: the product is H times smaller.
Tensor ProductKeyMemory::all_values(const Tensor& x_a, const Tensor& x_b) const {
  const std::vector<int> heads{0};
  const Tensor a = linear(x_a, sum(keys_a_.value, heads));  // [B, T, n]
  const Tensor b = linear(x_b, sum(keys_b_.value, heads));
  const Tensor weights = config_.activation == "softmax" ? softmax(outer_sum(a, b))
                                                         : outer_sum(a, b, Activation::relu);  // [B, T, n^2]
  return linear(weights, transpose(values_.value, 0, 1));
}

FeedforwardCost ProductKeyMemory::cost() const {
  const std::int64_t keys = keys_a_.shape.product() + keys_b_.shape.product(), values = values_.shape.product();
  const std::int64_t scored = keys / config_.key_heads;
  return {keys + values, keys + values, static_cast<double>(scored + values)};
}

}  // namespace weir
