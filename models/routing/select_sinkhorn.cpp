// S-BASE: in training the scores are first balanced inside each sequence, over its T tokens and the E experts.
#include <cmath>

#include "models/routing/select_top_k.h"
#include "ops/add.h"
#include "ops/add_scalar.h"
#include "ops/logsumexp.h"
#include "ops/negate.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/top_k.h"

namespace weir::routing {
namespace {

// With X [T, E] of a sequence, from a = 0, three times
//   b[t] = ln T - logsumexp over e of (X[t, e] + sign a[e])
//   a[e] = ln E - logsumexp over t of (X[t, e] + sign b[t])
// then the K largest of X[t, e] + a[e]; b[t] moves a whole row and e^(..) would underflow, so neither is taken.
Tensor balanced_top_k(const Scored& scored, const Call& call, double sign) {
  if (!call.context.training) return select_top_k(scored, call);
  const std::int64_t experts = scored.logits.size(1), tokens = scored.logits.size(0) / call.sequences;
  const Tensor x = reshape(scored.logits, {call.sequences, tokens, experts});
  Tensor a = Tensor::zeros({call.sequences, 1, experts}, x.dtype(), x.device());
  for (int iteration = 0; iteration < 3; ++iteration) {
    const Tensor b = add_scalar(negate(logsumexp(x + scale(a, sign), 2, true)), std::log(tokens));  // [B, T, 1]
    a = add_scalar(negate(logsumexp(x + scale(b, sign), 1, true)), std::log(experts));              // [B, 1, E]
  }
  return top_k(scored.ranked(reshape(x + a, scored.logits.shape())), call.k).indices;
}

// The authors' code subtracts where Sinkhorn's iteration adds: it balances less.
Tensor authors(const Scored& scored, const Call& call) { return balanced_top_k(scored, call, -1); }
Tensor textbook(const Scored& scored, const Call& call) { return balanced_top_k(scored, call, 1); }

const bool added = registry<Selection>().add(
                       {"sinkhorn", "top-k after balancing each sequence in training, as the authors' S-BASE does",
                        stateless<authors>}) &&
                   registry<Selection>().add({"sinkhorn-textbook",
                                              "the same with the signs of Sinkhorn's algorithm, which balances better",
                                              stateless<textbook>});

}  // namespace
}  // namespace weir::routing
