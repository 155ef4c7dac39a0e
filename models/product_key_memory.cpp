#include "models/product_key_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/text.h"
#include "models/initialise.h"
#include "ops/gather_sum.h"
#include "ops/linear.h"
#include "ops/outer_sum.h"
#include "ops/outer_sum_product.h"
#include "ops/permute.h"
#include "ops/product_key_search.h"
#include "ops/relu.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "ops/sum.h"

namespace weir {
namespace {

Initialiser normal_of(const ModelConfig& model, std::int64_t fan_in) {
  return initialise::normal(model.matrix_std(fan_in));
}

void validate(const FeedforwardConfig& f, const ModelConfig& model) {
  if (f.k > f.sub_keys * f.sub_keys) {
    throw ArgumentError(
        fmt::format("feedforward.k = {} is more than the {} values of feedforward.sub_keys = {}: lower k (from "
                    "sub_keys on, every value is used) or add sub-keys",
                    f.k, f.sub_keys * f.sub_keys, f.sub_keys));
  }
  if (model.d_model % 2 != 0) {
    throw ArgumentError(
        fmt::format("model.d_model = {} is odd, but feedforward.kind = \"pkm\" cuts its input into two equal "
                    "halves: make d_model even",
                    model.d_model));
  }
  if (f.init == "switch") {
    throw ArgumentError(
        "feedforward.init = \"switch\" is for experts; feedforward.kind = \"pkm\" starts \"dense-equivalent\" or "
        "\"standard\": choose one of these");
  }
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
          normal_of(model, config.init == "standard" ? model.d_model : config.sub_keys * config.sub_keys))) {
  validate(config, model);
}

FeedforwardOutput ProductKeyMemory::operator()(const Tensor& x, const ForwardContext& context) const {
  const std::int64_t half = x.size(-1) / 2;
  const Tensor x_a = slice(x, -1, 0, half), x_b = slice(x, -1, half, 2 * half);
  const Weighted used = uses_all() ? all_values(x_a, x_b, context) : chosen_values(x_a, x_b, context);
  FeedforwardOutput out;
  out.y = used.sum;
  if (context.analyse) count_active(out.statistics, used.weights);
  return out;
}

// The heads' scores are added, so their keys may be: the product is H times smaller.
ProductKeyMemory::Weighted ProductKeyMemory::all_values(const Tensor& x_a, const Tensor& x_b,
                                                        const ForwardContext& context) const {
  const std::vector<int> heads{0};
  const Tensor a = linear(x_a, sum(keys_a_.value, heads), context.products);  // [B, T, n]
  const Tensor b = linear(x_b, sum(keys_b_.value, heads), context.products);
  if (config_.activation == "relu" && !context.analyse)
    return {{}, outer_sum_product(a, b, values_.value, context.products)};
  const Tensor weights =
      config_.activation == "softmax" ? softmax(outer_sum(a, b)) : outer_sum(a, b, Activation::relu);  // [B, T, n^2]
  return {weights, linear(weights, transpose(values_.value, 0, 1), context.products)};
}

ProductKeyMemory::Weighted ProductKeyMemory::chosen_values(const Tensor& x_a, const Tensor& x_b,
                                                           const ForwardContext& context) const {
  const std::int64_t B = x_a.size(0), T = x_a.size(1), H = config_.key_heads, n = config_.sub_keys, k = config_.k;
  const auto scores_of = [&](const Tensor& half, const Tensor& keys) {
    return reshape(linear(half, reshape(keys, {H * n, half.size(-1)}), context.products), {B, T, H, n});
  };
  const ProductKeys chosen = product_key_search(scores_of(x_a, keys_a_.value), scores_of(x_b, keys_b_.value), k);
  const Tensor scores = reshape(chosen.scores, {B, T, H * k}), indices = reshape(chosen.indices, {B, T, H * k});
  const Tensor weights = config_.activation == "softmax" ? softmax(scores) : relu(scores);
  return {weights, gather_sum(weights, indices, values_.value)};
}

std::int64_t ProductKeyMemory::idle_parameters() const {
  if (uses_all()) return 0;
  const std::int64_t named = config_.key_heads * config_.k;  // heads may name a value twice
  return std::max<std::int64_t>(0, values_.shape[0] - named) * values_.shape[1];
}

std::string ProductKeyMemory::text() const {
  return fmt::format("PKM: {}, {}, {} per head, {}", counted(config_.sub_keys * config_.sub_keys, "value"),
                     counted(config_.key_heads, "head"), config_.k, config_.activation);
}

namespace {
const bool added = registry<FeedforwardKind>().add({.name = "pkm",
                                                    .help = "a product-key memory",
                                                    .function = by_constructor<ProductKeyMemory>,
                                                    .reads = {"k", "sub_keys", "key_heads", "activation", "init"}});
}  // namespace

}  // namespace weir
