// BASE (Lewis et al. 2021): in training the batch's tokens are divided evenly, such that the sum of their scores is
// largest.
#include "models/routing/select_top_k.h"
#include "ops/balanced_assignment.h"
#include "ops/reshape.h"

namespace weir::routing {
namespace {

Tensor select_assigned(const Scored& scored, const Call& call) {
  if (!call.context.training) return select_top_k(scored, call);
  return reshape(balanced_assignment(scored.logits).expert, {scored.logits.size(0), 1});
}

const bool added = registry<Selection>().add(
    {"assignment", "k = 1 and equally many tokens for all experts in training, as BASE", stateless<select_assigned>});

}  // namespace
}  // namespace weir::routing
