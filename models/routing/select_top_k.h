// The plain selection, which others fall back to in evaluation.
#pragma once

#include "models/routing/part.h"

namespace weir::routing {

// The K experts with the largest logits. On logits and not on gates, because saturated sigmoids would tie. A barred
// expert is taken only where fewer than K others are left.
Tensor select_top_k(const Scored& scored, const Call& call);

}  // namespace weir::routing
