// One update, declared in train/trainer.h.
#include <cmath>

#include "autograd/autograd.h"
#include "ops/add.h"
#include "ops/cross_entropy.h"
#include "ops/scale.h"
#include "train/trainer.h"

namespace weir {

TrainingStep::TrainingStep(const Config& config, const TransformerXl& model)
    : config_(config),
      model_(model),
      optimizer_(model.parameters(), {.beta1 = config.optimizer.beta1,
                                      .beta2 = config.optimizer.beta2,
                                      .eps = config.optimizer.eps,
                                      .weight_decay = config.optimizer.weight_decay}) {}

TrainingStep::Result TrainingStep::operator()(const std::function<Batch(std::int64_t)>& read,
                                              std::vector<Memory>& memories, std::int64_t step, double learning_rate,
                                              bool collect_statistics) {
  Result result;
  const std::int64_t groups = config_.train.accumulate;
  memories.resize(static_cast<std::size_t>(groups));
  model_.parameters().zero_gradients();
  for (std::int64_t group = 0; group < groups; ++group) {
    Memory& memory = memories[static_cast<std::size_t>(group)];
    const ForwardContext context{.training = true,
                                 .seed = static_cast<std::uint64_t>(config_.train.seed),
                                 .step = static_cast<std::uint32_t>(step * groups + group),
                                 .collect_statistics = collect_statistics && group == groups - 1};
    const Batch batch = read(group);
    LanguageModelOutput out = model_(batch.inputs, memory, config_.model.memory_length(), context);
    const Tensor loss = cross_entropy(out.logits, batch.targets);
    const Tensor total = out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss;
    const double share = 1.0 / static_cast<double>(groups);
    backward(groups == 1 ? total : scale(total, share));
    result.loss += share * loss.item();
    result.auxiliary_loss += share * (out.auxiliary_loss.defined() ? out.auxiliary_loss.item() : 0);
    memory = std::move(out.memory);
    result.statistics = std::move(out.statistics);
  }
  result.gradient_norm = gradient_norm(model_.parameters());
  result.applied = std::isfinite(result.gradient_norm) && std::isfinite(result.loss);
  if (result.applied) optimizer_.step(learning_rate, clip_factor(result.gradient_norm, config_.optimizer.clip));
  return result;
}

}  // namespace weir
