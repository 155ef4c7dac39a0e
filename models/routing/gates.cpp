// How the score of a chosen expert becomes the factor on its output.
#include "models/routing/part.h"
#include "ops/sigmoid.h"
#include "ops/softmax.h"
#include "ops/take_along.h"

namespace weir::routing {
namespace {

Tensor sigmoid_gate(const Scored& scored, const Tensor& index) { return sigmoid(take_along(scored.logits, index)); }

Tensor softmax_gate(const Scored& scored, const Tensor& index) { return take_along(softmax(scored.logits), index); }

Tensor softmax_after_topk_gate(const Scored& scored, const Tensor& index) {
  return softmax(take_along(scored.ranked(scored.logits), index));
}

Tensor one_gate(const Scored& scored, const Tensor& index) {
  return Tensor::full(index.shape(), 1, scored.logits.dtype(), index.device());
}

const bool added =
    registry<Gate>().add({"sigmoid", "of each score by itself", sigmoid_gate}) &&
    registry<Gate>().add({"softmax", "over all experts", softmax_gate}) &&
    registry<Gate>().add({"softmax-after-topk", "over the chosen ones: they sum to 1", softmax_after_topk_gate}) &&
    registry<Gate>().add({"one", "for every chosen one; the router then learns nothing from the loss", one_gate});

}  // namespace
}  // namespace weir::routing
