// Multi-head attention of Transformer-XL: relative positions, carried memory.
#pragma once

#include <map>

#include "models/config.h"
#include "models/parameter.h"

namespace weir {

// Parameters (no biases): w_q [H*P, D], w_kv [H*2*P, D] with rows ordered head, k or v, channel; w_r [H*P, D] for the
// positions; w_o [D, H*P]; u and v [H, P], the content and position biases, from 0; scale [1] from 1 / sqrt(P).
// All matrices start as truncated normals of std sqrt(2 / (layers * fan_in)).
class RelativeAttention {
 public:
  RelativeAttention(ParameterSet& parameters, const std::string& name, const ModelConfig& config);

  // x: [B, S, D], memory first, already normalised; the last `queries` positions attend. -> [B, queries, D]
  Tensor operator()(const Tensor& x, std::int64_t queries) const;

 private:
  const Tensor& positions(std::int64_t keys, DType dtype) const;

  std::int64_t heads_, head_size_, d_model_;
  const Parameter &w_q_, &w_kv_, &w_r_, &w_o_, &u_, &v_, &scale_;
  mutable std::map<std::pair<std::int64_t, DType>, Tensor> positions_;  // the lengths seen so far
};

// Rows of sinusoids for the relative positions -(keys - 1) .. 0: entry 2k is sin(rho * 10000^(-2k / D)), entry 2k + 1
// its cosine. -> [keys, D]
Tensor sinusoids(std::int64_t keys, std::int64_t d_model, DType dtype);

}  // namespace weir
