#include "models/regulariser.h"

#include <cmath>
#include <vector>

#include "ops/add_scalar.h"
#include "ops/concatenate.h"
#include "ops/exp.h"
#include "ops/log_softmax.h"
#include "ops/logsumexp.h"
#include "ops/mean.h"
#include "ops/multiply.h"
#include "ops/scale.h"
#include "ops/softmax.h"
#include "ops/sum.h"

namespace weir {

RegulariserInputs join_calls(std::span<const RegulariserInputs> calls) {
  RegulariserInputs joined;
  for (std::size_t i = 0; !calls.empty() && i < calls[0].size(); ++i) {
    std::vector<Tensor> parts;
    for (const RegulariserInputs& call : calls) parts.push_back(call[i]);
    joined.push_back(concatenate(parts, 1));
  }
  return joined;
}

Tensor entropy_regulariser(const Tensor& logits) {
  const double log_tokens = std::log(static_cast<double>(logits.size(0)));
  const Tensor log_mean = add_scalar(logsumexp(log_softmax(logits), 0), -log_tokens);  // [E]
  return sum(exp(log_mean) * log_mean);
}

Tensor sequence_entropy_regulariser(const Tensor& logits) {
  const double log_tokens = std::log(static_cast<double>(logits.size(1)));
  const Tensor log_mean = add_scalar(logsumexp(log_softmax(logits), 1), -log_tokens);  // [B, E] or [B, H, E]
  const double means = static_cast<double>(log_mean.numel() / log_mean.size(-1));
  return scale(sum(exp(log_mean) * log_mean), 1 / means);
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
