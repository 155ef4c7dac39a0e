// The baseline that no router takes part in.
#include "models/routing/part.h"
#include "ops/random_integers.h"

namespace weir::routing {
namespace {

// Every slot by itself, so that a token may draw an expert twice. There is nothing better in evaluation: it draws too,
// and a token's place in the batch decides.
Tensor select_random(const Scored& scored, const Call& call) {
  return random_integers({scored.logits.size(0), call.k}, scored.logits.size(1),
                         call.random(RandomPlace::random_expert), scored.logits.device());
}

const bool added = registry<Selection>().add({"random", "drawn, in evaluation too", stateless<select_random>});

}  // namespace
}  // namespace weir::routing
