// Expert Choice (Zhou et al. 2022): in training each expert takes the C = ceil(N K / E) tokens that it suits best, of
// all N of the forward pass. A token then has from none to E experts, K on average.
//
// This is not causal: whether an expert takes a token depends on the tokens after it. In evaluation and generation,
// where that would tell a token of those it is to predict, each takes its K largest scores instead.
#include "core/error.h"
#include "core/text.h"
#include "models/routing/select_top_k.h"
#include "ops/log_softmax.h"
#include "ops/permute.h"
#include "ops/reshape.h"
#include "ops/sort_by_expert.h"
#include "ops/top_k.h"

namespace weir::routing {
namespace {

// By the softmax over a token's experts, as in the paper; its logarithm has the same order and does not saturate.
Choice chosen_by_experts(const Scored& scored, const Call& call) {
  if (!call.context.training) return select_top_k(scored, call);
  const std::int64_t tokens = scored.logits.size(0), experts = scored.logits.size(1);
  const std::int64_t each = (tokens * call.k + experts - 1) / experts;              // C
  const Tensor suits = transpose(scored.ranked(log_softmax(scored.logits)), 0, 1);  // [E, N]
  const Tensor taken = reshape(top_k(suits, each).indices, {experts * each});       // [E C]
  const Tensor zeros = Tensor::zeros({experts, each}, DType::int32, taken.device());
  return {reshape(sort_by_expert(zeros, 1).tokens, {experts * each, 1}), taken};  // row r is of expert r / C
}

void refuse(const char* setting, const std::string& value) {
  throw ArgumentError("feedforward." + std::string(setting) + " = " + value +
                      " compares the experts of a token, whose number feedforward.selection = \"expert-choice\" leaves "
                      "open: choose another value, or another selection");
}

Selection::Choose expert_choice(const RouterParameters& declare) {
  const FeedforwardConfig& config = declare.config;
  if (config.gate == "softmax-after-topk") refuse("gate", quote(config.gate));
  if (config.regulariser == "entropy-selected") refuse("regulariser", quote(config.regulariser));
  if (config.hidden_k > 0) refuse("hidden_k", std::to_string(config.hidden_k));
  return chosen_by_experts;
}

const bool added = registry<Selection>().add(
    {"expert-choice",
     "in training each expert takes its tokens x k / experts best tokens, which looks ahead: not causal; the k largest "
     "in evaluation and generation",
     expert_choice});

}  // namespace
}  // namespace weir::routing
