#include "models/relative_attention.h"

#include <cmath>

#include "core/error.h"
#include "models/initialise.h"
#include "ops/linear.h"
#include "ops/relative_attention.h"
#include "ops/reshape.h"
#include "ops/slice.h"

namespace weir {
namespace {

const Parameter& add_matrix(ParameterSet& parameters, const std::string& name, const ModelConfig& config,
                            std::int64_t rows, std::int64_t cols) {
  return parameters.add(name, {rows, cols}, initialise::truncated_normal(config.matrix_std(cols)));
}

}  // namespace

RelativeAttention::RelativeAttention(ParameterSet& parameters, const std::string& name, const ModelConfig& config)
    : heads_(config.heads),
      head_size_(config.head_size),
      d_model_(config.d_model),
      w_q_(add_matrix(parameters, name + ".w_q", config, heads_ * head_size_, d_model_)),
      w_kv_(add_matrix(parameters, name + ".w_kv", config, heads_ * 2 * head_size_, d_model_)),
      w_r_(add_matrix(parameters, name + ".w_r", config, heads_ * head_size_, d_model_)),
      w_o_(add_matrix(parameters, name + ".w_o", config, d_model_, heads_ * head_size_)),
      u_(parameters.add(name + ".u", {heads_, head_size_}, initialise::constant(0))),
      v_(parameters.add(name + ".v", {heads_, head_size_}, initialise::constant(0))),
      scale_(parameters.add(name + ".scale", {1},
                            initialise::constant(1 / std::sqrt(static_cast<double>(config.head_size))))),
      positions_(config.d_model) {}

AttentionOutput RelativeAttention::operator()(const Tensor& x, const Tensor& values, std::int64_t queries,
                                              const ForwardContext& context) const {
  if (!values.same_view(x)) throw InternalError("RelativeAttention: values apart from keys");
  const std::int64_t batch = x.size(0), keys = x.size(1);
  const Tensor own = queries == keys ? x : slice(x, 1, keys - queries, keys);  // [B, T, D]
  const auto projected = [&](const Tensor& from, const Parameter& weight, const Shape& shape) {
    return reshape(linear(from, weight.value, context.products), shape);
  };
  const Tensor q = projected(own, w_q_, {batch, queries, heads_, head_size_});  // [B, T, H, P]
  const Tensor kv = projected(x, w_kv_, {batch, keys, heads_, 2, head_size_});  // [B, S, H, 2, P]
  const Tensor r = projected(positions_(keys, x.dtype(), x.device()), w_r_, {keys, heads_, head_size_});  // [S, H, P]
  const Tensor out = relative_attention(q, kv, r, u_.value, v_.value, scale_.value, context.products);  // [B, T, H, P]
  return {linear(reshape(out, {batch, queries, heads_ * head_size_}), w_o_.value, context.products)};
}

namespace {
const bool added = registry<AttentionKind>().add({"relative", "Transformer-XL's",
                                                  [](ParameterSet& parameters, const std::string& name, std::int64_t,
                                                     const ModelConfig& model) -> std::unique_ptr<Attention> {
                                                    return std::make_unique<RelativeAttention>(parameters, name, model);
                                                  }});
}  // namespace

}  // namespace weir
