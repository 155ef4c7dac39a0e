// Balancing without a loss (Wang et al. 2024, as in DeepSeek-V3): experts that got too little of a step's tokens become
// a little more attractive, those that got too much a little less.
#include "models/initialise.h"
#include "models/routing/part.h"
#include "ops/add.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/scatter_add_rows.h"
#include "ops/sigmoid.h"
#include "ops/sign.h"
#include "ops/subtract.h"
#include "ops/sum.h"
#include "ops/top_k.h"

namespace weir::routing {
namespace {

// bias[e] + rate * sign(mean load - load[e]), with load [E] the pairs that each expert got. Times E, so that what is
// compared are whole numbers: nothing is rounded near balance.
Tensor moved(const Tensor& bias, const Tensor& load, double rate) {
  const auto experts = static_cast<double>(load.numel());
  return bias + scale(sign(sum(load) - scale(load, experts)), rate);
}

// How many pairs of index [R, K] each expert has, [E].
Tensor load_of(const Tensor& index, const Tensor& logits) {
  const Tensor ones = Tensor::full({index.numel(), 1}, 1, logits.dtype(), logits.device());
  return reshape(scatter_add_rows(ones, reshape(index, {index.numel()}), logits.size(1)), {logits.size(1)});
}

// The K largest of sigmoid(logits) + bias, in evaluation too. Gates know nothing of the bias.
Selection::Choose bias_balanced(const RouterParameters& declare) {
  const double rate = declare.config.bias_update_rate;
  const Buffer& bias =
      declare.add_buffer("expert_bias", initialise::constant(0),
                         [rate](const Tensor& value, const Tensor& load) { return moved(value, load, rate); });
  return [&bias](const Scored& scored, const Call& call) -> Choice {
    const Tensor index = top_k(scored.ranked(sigmoid(scored.logits) + bias.value), call.k).indices;
    if (call.context.training) call.observe(bias, load_of(index, scored.logits));
    return index;
  };
}

const bool added =
    registry<Selection>().add({"bias-balanced",
                               "the k largest of sigmoid(score) + a bias of the expert, which follows its use, as "
                               "DeepSeek-V3; set feedforward.regulariser = none, or a loss balances as well",
                               bias_balanced});

}  // namespace
}  // namespace weir::routing
