// SwitchHead (Csordas et al. 2023): attention whose values and output are mixtures of experts, head by head, so that
// few heads do the work of many. Positions as in Transformer-XL, without its biases u and v.
//
//   s_v = sigmoid(sel_v x)  of every key,  s_o = sigmoid(sel_o x)  of every query       E scores per head
//   V_h = sum over the K largest e of s_v[h, e] * values W_v[h, e]                      [S, P]
//   y   = sum over h and the K largest e of s_o[h, e] * (A_h V_h) W_o[h, e]             [T, D]
#pragma once

#include "models/attention.h"
#include "ops/sort_by_expert.h"

namespace weir {

// Parameters (no biases): w_q, w_k and w_r [H*P, D]; sel_v and sel_o [H*E, D]; w_v [H*E, D, P] and w_o [H*E, P, D].
// With one expert there is nothing to select: w_v [H*P, D] and w_o [D, H*P] are dense, and sel_o is left as a gate on
// each head's output. All start as normals of std sqrt(2 / (layers * fan_in)), the fan-in of w_o being H*P; the rows of
// the selectors equally long.
class SwitchHead final : public Attention {
 public:
  SwitchHead(ParameterSet& parameters, const std::string& name, std::int64_t layer, const ModelConfig& config);

  AttentionOutput operator()(const Tensor& x, const Tensor& values, std::int64_t queries,
                             const ForwardContext& context) const override;
  // inputs: the logits of keys [B, S, H, E] and of queries [B, T, H, E]; memory counts as keys do.
  Tensor auxiliary_loss(const RegulariserInputs& inputs) const override;
  std::int64_t idle_parameters() const override;

 private:
  struct Selection {
    Tensor logits;      // [B, n, H, E]
    Tensor gate;        // [B * n * H, K, 1]
    ExpertOrder order;  // of the pairs (position, head, slot)
  };
  // The experts that the positions of x [B, n, D] choose.
  Selection select(const Tensor& x, const Parameter& selector, RandomPlace place, const ForwardContext& context) const;
  // [B, S, D] -> [B, S, H, P]
  Tensor value_experts(const Tensor& values, const Selection& selection, const ForwardContext& context) const;
  // [B, T, H, P] -> [B, T, D]
  Tensor output_experts(const Tensor& attended, const Selection& selection, const ForwardContext& context) const;
  // x [B, S, D], v [B, S, H, P] -> [B, T, H, P]
  Tensor attend(const Tensor& x, const Tensor& own, const Tensor& v, const ForwardContext& context) const;

  std::int64_t layer_, d_model_, heads_, head_size_, experts_, k_;
  double expert_dropout_, regulariser_weight_;
  const Parameter &w_q_, &w_k_, &w_r_, &w_v_, &w_o_, &sel_o_;
  const Parameter* sel_v_;  // none with one expert
  RelativePositions positions_;
};

}  // namespace weir
