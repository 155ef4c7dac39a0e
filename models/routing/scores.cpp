// What experts are ranked by: logits [N, E] from tokens [N, D].
#include "models/initialise.h"
#include "models/routing/part.h"
#include "ops/add.h"
#include "ops/concatenate.h"
#include "ops/linear.h"
#include "ops/logsumexp.h"
#include "ops/multiply.h"
#include "ops/reshape.h"
#include "ops/standard_normal.h"

namespace weir::routing {
namespace {

Scores::Logits linear_scores(const RouterParameters& declare) {
  const Parameter& router = declare.add("router", declare.router);
  return [&router](const Tensor& x, const Call& call) { return linear(x, router.value, call.context.products); };
}

// ln(1 + e^x) as the logsumexp of x and 0, which cannot overflow.
Tensor softplus(const Tensor& x) {
  const Tensor row = reshape(x, {1, x.numel()});
  const Tensor both[] = {row, Tensor::zeros_like(row)};
  return reshape(logsumexp(concatenate(both, 0), 0), x.shape());
}

// Shazeer et al. 2017: x router^T + normal * softplus(x noise^T), the noise in training alone. `noise` starts from
// zeros, as theirs: every expert then has the same standard deviation, ln 2.
Scores::Logits noisy_scores(const RouterParameters& declare) {
  const Parameter &router = declare.add("router", declare.router),
                  &noise = declare.add("noise", initialise::constant(0));
  return [&router, &noise](const Tensor& x, const Call& call) {
    const Tensor logits = linear(x, router.value, call.context.products);
    if (!call.context.training) return logits;
    const Tensor normal =
        standard_normal(logits.shape(), call.random(RandomPlace::router_noise), logits.dtype(), logits.device());
    return logits + normal * softplus(linear(x, noise.value, call.context.products));
  };
}

const bool added =
    registry<Scores>().add({"linear", "router times token", linear_scores}) &&
    registry<Scores>().add({"noisy", "in training that plus normal noise, whose size is learned", noisy_scores});

}  // namespace
}  // namespace weir::routing
