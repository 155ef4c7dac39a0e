#include "models/routing/select_top_k.h"

#include "ops/top_k.h"

namespace weir::routing {

Tensor select_top_k(const Scored& scored, const Call& call) {
  return top_k(scored.ranked(scored.logits), call.k).indices;
}

namespace {

const bool added = registry<Selection>().add({"top-k", "the k largest", stateless<select_top_k>});

}  // namespace
}  // namespace weir::routing
