#include "models/regulariser.h"

#include <vector>

#include "models/routing/part.h"
#include "ops/add_scalar.h"
#include "ops/concatenate.h"
#include "ops/divide.h"
#include "ops/exp.h"
#include "ops/log_mean_softmax.h"
#include "ops/mean.h"
#include "ops/multiply.h"
#include "ops/permute.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/scatter_add_rows.h"
#include "ops/softmax.h"
#include "ops/sqrt.h"
#include "ops/square.h"
#include "ops/subtract.h"
#include "ops/sum.h"
#include "ops/take_along.h"

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
  const Tensor log_mean = log_mean_softmax(logits);  // [E]
  return sum(exp(log_mean) * log_mean);
}

Tensor sequence_entropy_regulariser(const Tensor& logits) {
  const Tensor by_head = logits.rank() == 4 ? transpose(logits, 1, 2) : logits;  // [B, T, E] or [B, H, T, E]
  const Tensor log_mean = log_mean_softmax(by_head);                             // [B, E] or [B, H, E]
  const double means = static_cast<double>(log_mean.numel() / log_mean.size(-1));
  return scale(sum(exp(log_mean) * log_mean), 1 / means);
}

Tensor switch_regulariser(const Tensor& logits, const Tensor& index) {
  const std::int64_t selections = index.numel();
  const Tensor one = Tensor::full({selections, 1}, 1, logits.dtype(), logits.device());
  const Tensor counts = scatter_add_rows(one, reshape(index, {selections}), logits.size(1));  // [E, 1]
  const Tensor f = scale(reshape(counts, {logits.size(1)}), 1.0 / static_cast<double>(selections));
  const std::vector<int> tokens{0};
  return scale(sum(f * mean(softmax(logits), tokens)), 1.0 / static_cast<double>(logits.size(1)));
}

Tensor importance_regulariser(const Tensor& gate, const Tensor& index, std::int64_t experts) {
  const std::int64_t pairs = gate.numel();
  const Tensor load = scatter_add_rows(reshape(gate, {pairs, 1}), reshape(index, {pairs}), experts);  // [E, 1]
  const Tensor average = mean(load), variance = mean(square(load - average));
  // At perfect balance the root alone would have an infinite gradient.
  return sqrt(add_scalar(variance / square(average), 1e-12));
}

namespace {

using routing::Regulariser, routing::Routed;

Tensor none(const Routed&) { return {}; }
Tensor entropy(const Routed& routed) { return entropy_regulariser(routed.logits); }
Tensor entropy_selected(const Routed& routed) { return entropy_regulariser(take_along(routed.logits, routed.index)); }
Tensor entropy_sequence(const Routed& routed) {
  const Tensor& z = routed.logits;
  return sequence_entropy_regulariser(reshape(z, {routed.sequences, z.size(0) / routed.sequences, z.size(1)}));
}
Tensor switch_code(const Routed& routed) { return switch_regulariser(routed.logits, routed.index); }
Tensor switch_paper(const Routed& routed) {
  const auto experts = static_cast<double>(routed.logits.size(1));
  return scale(switch_regulariser(routed.logits, routed.index), experts * experts);
}
Tensor importance(const Routed& routed) {
  return importance_regulariser(routed.gate, routed.index, routed.logits.size(1));
}

const bool added =
    registry<Regulariser>().add({"none", "no such term", none}) &&
    registry<Regulariser>().add({"entropy", "minus the entropy of the mean softmax of the scores", entropy}) &&
    registry<Regulariser>().add(
        {"entropy-selected", "over the k chosen scores alone, as the authors' softmax-after-topk", entropy_selected}) &&
    registry<Regulariser>().add({"entropy-sequence", "of each sequence, then the mean, as MoEUT", entropy_sequence}) &&
    registry<Regulariser>().add({"switch", "the Switch Transformer's, as the authors weigh it", switch_code}) &&
    registry<Regulariser>().add({"switch-paper", "switch times experts^2, as its paper weighs it", switch_paper}) &&
    registry<Regulariser>().add({"importance", "std / mean of the summed gates per expert", importance});

}  // namespace
}  // namespace weir
