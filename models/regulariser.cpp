#include "models/regulariser.h"

#include <cmath>
#include <vector>

#include "ops/add_scalar.h"
#include "ops/exp.h"
#include "ops/log_softmax.h"
#include "ops/logsumexp.h"
#include "ops/mean.h"
#include "ops/multiply.h"
#include "ops/scale.h"
#include "ops/softmax.h"
#include "ops/sum.h"

namespace weir {

Tensor entropy_regulariser(const Tensor& logits) {
  const double log_tokens = std::log(static_cast<double>(logits.size(0)));
  const Tensor log_mean = add_scalar(logsumexp(log_softmax(logits), 0), -log_tokens);  // [E]
  return sum(exp(log_mean) * log_mean);
}

Tensor switch_regulariser(const Tensor& logits, const Tensor& index) {
  std::vector<double> share(static_cast<std::size_t>(logits.size(1)));
  for (double expert : index.values())
    share[static_cast<std::size_t>(expert)] += 1.0 / static_cast<double>(index.numel());
  const Tensor f = Tensor::from_values({logits.size(1)}, share, logits.dtype());
  const std::vector<int> tokens{0};
  return scale(sum(f * mean(softmax(logits), tokens)), 1.0 / static_cast<double>(logits.size(1)));
}

}  // namespace weir
