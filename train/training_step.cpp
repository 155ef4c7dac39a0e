#include "train/training_step.h"

#include <cmath>

#include "autograd/accumulate.h"
#include "autograd/autograd.h"
#include "ops/add.h"
#include "ops/clip_factor.h"
#include "ops/cross_entropy.h"
#include "ops/global_norm.h"
#include "ops/scale.h"

namespace weir {
namespace {

enum Sum { kLoss, kAuxiliaryLoss, kGradientNorm, kSums };

Tensor element(const Tensor& values, std::int64_t i) { return values.strided({}, {}, i); }

}  // namespace

TrainingStep::TrainingStep(const Config& config, const TransformerXl& model)
    : config_(config),
      model_(model),
      optimizer_(model.parameters(), {.beta1 = config.optimizer.beta1,
                                      .beta2 = config.optimizer.beta2,
                                      .eps = config.optimizer.eps,
                                      .weight_decay = config.optimizer.weight_decay}),
      learning_rate_(Tensor::zeros({}, DType::float64, model.device())),
      first_pass_(Tensor::zeros({}, DType::int32, model.device())),
      sums_(Tensor::zeros({kSums}, DType::float64, model.device())) {}

TrainingStep::Result TrainingStep::operator()(const std::function<Batch(std::int64_t)>& read,
                                              std::vector<Memory>& memories, std::int64_t step, double learning_rate,
                                              bool collect_statistics) {
  const std::int64_t groups = config_.train.accumulate;
  const bool on_cpu = model_.device().kind == DeviceKind::cpu;
  memories.resize(static_cast<std::size_t>(groups));
  fill(learning_rate_, learning_rate);
  // The CPU's kernels take the number itself.
  const std::int64_t first_pass = step * groups;
  if (!on_cpu) fill(first_pass_, static_cast<double>(static_cast<std::int32_t>(first_pass)));
  fill(sums_, 0);
  model_.parameters().zero_gradients();
  std::vector<FeedforwardStatistics> statistics;
  for (std::int64_t group = 0; group < groups; ++group) {
    const ForwardContext context{.training = true,
                                 .seed = static_cast<std::uint64_t>(config_.train.seed),
                                 .step = static_cast<std::uint32_t>((on_cpu ? first_pass : 0) + group),
                                 .device_step = on_cpu ? nullptr : static_cast<const std::uint32_t*>(first_pass_.raw()),
                                 .collect_statistics = collect_statistics && group == groups - 1};
    const Batch batch = read(group);
    run_group({to_device(batch.inputs, model_.device()), to_device(batch.targets, model_.device())},
              memories[static_cast<std::size_t>(group)], context, statistics);
  }
  update();
  Result result = results();
  result.statistics = std::move(statistics);
  return result;
}

void TrainingStep::run_group(const Batch& batch, Memory& memory, const ForwardContext& context,
                             std::vector<FeedforwardStatistics>& statistics) {
  LanguageModelOutput out = model_(batch.inputs, memory, config_.model.memory_length(), context);
  const Tensor loss = cross_entropy(out.logits, batch.targets);
  const Tensor total = out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss;
  const double share = 1.0 / static_cast<double>(config_.train.accumulate);
  backward(config_.train.accumulate == 1 ? total : scale(total, share));
  const NoGradient guard;
  const auto add_share = [&](const Tensor& term, Sum sum) {
    const Tensor exact = reshaped(converted(term.detach(), DType::float64), {});
    add_into(scale(exact, share), element(sums_, sum));
  };
  add_share(loss, kLoss);
  if (out.auxiliary_loss.defined()) add_share(out.auxiliary_loss, kAuxiliaryLoss);
  memory = std::move(out.memory);
  statistics = std::move(out.statistics);
}

void TrainingStep::update() {
  const NoGradient guard;
  const Tensor norm = global_norm(model_.parameters().gradients());
  copy_into(norm, element(sums_, kGradientNorm));
  // A loss that is not finite makes this sum so, and then no factor is, and nothing is updated.
  const Tensor judged = norm + scale(element(sums_, kLoss), 0);
  optimizer_.step(learning_rate_, clip_factor(judged, config_.optimizer.clip));
}

TrainingStep::Result TrainingStep::results() const {
  const std::vector<double> sums = sums_.values();
  Result result{.loss = sums[kLoss],
                .auxiliary_loss = sums[kAuxiliaryLoss],
                .gradient_norm = sums[kGradientNorm],
                .applied = false,
                .statistics = {}};
  result.applied = std::isfinite(result.gradient_norm) && std::isfinite(result.loss);
  return result;
}

}  // namespace weir
