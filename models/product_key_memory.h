// The product-key memory (PKM): n^2 values, each named by a pair of sub-keys, so that n + n scores rank them all.
#pragma once

#include "models/feedforward.h"

namespace weir {

// keys_a, keys_b [H, n, D/2], values [n^2, D], shared by the H heads; no biases. With x = [x_a | x_b]:
//   score of pair (i, j) in head h = x_a . keys_a[h, i] + x_b . keys_b[h, j];   its value is row i n + j.
// Each head takes its k best pairs; y = sum of activation(score) * value over the H k pairs of a token (a softmax runs
// over all of them). With k >= n nothing is selected: the heads' scores are added, and all n^2 values count. That is
// what the authors' code does, and what all of their runs did.
//
// Initial standard deviations: keys sqrt(2 / (layers * D)); values sqrt(2 / (layers * n^2)), or with "standard"
// sqrt(2 / (layers * D)).
class ProductKeyMemory final : public Feedforward {
 public:
  ProductKeyMemory(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& model,
                   const FeedforwardConfig& config);
  FeedforwardOutput operator()(const Tensor& x, const ForwardContext& context) const override;
  std::int64_t idle_parameters() const override;
  std::string text() const override;

 private:
  bool uses_all() const { return config_.k >= config_.sub_keys; }
  struct Weighted {
    Tensor weights;  // of each token's values; undefined where nobody needs them
    Tensor sum;      // like the input
  };
  Weighted all_values(const Tensor& x_a, const Tensor& x_b, const ForwardContext& context) const;
  Weighted chosen_values(const Tensor& x_a, const Tensor& x_b, const ForwardContext& context) const;

  FeedforwardConfig config_;
  const Parameter &keys_a_, &keys_b_, &values_;
};

}  // namespace weir
