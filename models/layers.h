// The small layers: their parameters and one call each.
#pragma once

#include "models/forward_context.h"
#include "models/parameter.h"
#include "ops/residual_layer_norm.h"

namespace weir {

// What brings the rows of x [..., d_model] to one size.
class Norm {
 public:
  virtual ~Norm() = default;
  virtual Tensor operator()(const Tensor& x) const = 0;
};

// Layer norm over the last axis, eps 1e-5, with learned scale (1) and shift (0).
class LayerNorm final : public Norm {
 public:
  LayerNorm(ParameterSet& parameters, const std::string& name, std::int64_t d_model);
  Tensor operator()(const Tensor& x) const override;
  // Of x + dropout(branch, p, random), which comes along.
  ResidualLayerNorm of_sum(const Tensor& x, const Tensor& branch, double p, const RandomStream& random) const;

 private:
  const Parameter &weight_, &bias_;
};

// x divided by the root of the mean of its squares, eps 1e-5, with a learned scale (1).
class RmsNorm final : public Norm {
 public:
  RmsNorm(ParameterSet& parameters, const std::string& name, std::int64_t d_model);
  Tensor operator()(const Tensor& x) const override;

 private:
  const Parameter& weight_;
};

// Token embedding, U(+-sqrt(6 / (vocabulary + d_model))) (Xavier); no factor sqrt(d_model). ids: [...] -> [...,
// d_model].
class Embedding {
 public:
  Embedding(ParameterSet& parameters, const std::string& name, std::int64_t vocabulary, std::int64_t d_model);
  Tensor operator()(const Tensor& ids, DType dtype) const;
  // x: [..., d_model] -> [..., vocabulary]: products with the rows of the embedding, for a model without another
  // output.
  Tensor logits(const Tensor& x, const ForwardContext& context) const;

 private:
  const Parameter& weight_;
};

// Output projection with bias, both U(+-1 / sqrt(d_model)). x: [..., d_model] -> [..., vocabulary].
class OutputProjection {
 public:
  OutputProjection(ParameterSet& parameters, const std::string& name, std::int64_t vocabulary, std::int64_t d_model);
  Tensor operator()(const Tensor& x, const ForwardContext& context) const;

 private:
  const Parameter &weight_, &bias_;
};

// Dropout in training, nothing otherwise.
Tensor dropout_if_training(const Tensor& x, double p, const ForwardContext& context, RandomPlace place,
                           std::int64_t layer = 0);

}  // namespace weir
