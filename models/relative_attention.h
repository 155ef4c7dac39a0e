// Multi-head attention of Transformer-XL: relative positions, carried memory.
#pragma once

#include "models/attention.h"

namespace weir {

// Parameters (no biases): w_q [H*P, D], w_kv [H*2*P, D] with rows ordered head, k or v, channel; w_r [H*P, D] for the
// positions; w_o [D, H*P]; u and v [H, P], the content and position biases, from 0; scale [1] from 1 / sqrt(P).
// All matrices start as truncated normals of std sqrt(2 / (layers * fan_in)).
class RelativeAttention final : public Attention {
 public:
  RelativeAttention(ParameterSet& parameters, const std::string& name, const ModelConfig& config);

  // Keys and values are one product: `values` must be x.
  AttentionOutput operator()(const Tensor& x, const Tensor& values, std::int64_t queries,
                             const ForwardContext& context) const override;

 private:
  std::int64_t heads_, head_size_, d_model_;
  const Parameter &w_q_, &w_kv_, &w_r_, &w_o_, &u_, &v_, &scale_;
  RelativePositions positions_;
};

}  // namespace weir
