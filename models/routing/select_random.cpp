// The baseline that no router takes part in.
#include "models/routing/part.h"

namespace weir::routing {
namespace {

// Every slot by itself, so that a token may draw an expert twice. There is nothing better in evaluation: it draws too,
// and a token's place in the batch decides.
Tensor select_random(const Scored& scored, const Call& call) {
  const std::int64_t slots = scored.logits.size(0) * call.k;
  const auto experts = static_cast<std::uint64_t>(scored.logits.size(1));
  const RandomStream random = call.random(RandomPlace::random_expert);
  std::vector<double> index(static_cast<std::size_t>(slots));
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<double>(random.bits(i) * experts >> 32);
  return Tensor::from_values({scored.logits.size(0), call.k}, index, DType::int32);
}

const bool added = add_part<Selection>({"random", "drawn, in evaluation too", select_random});

}  // namespace
}  // namespace weir::routing
