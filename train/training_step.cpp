#include "train/training_step.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "autograd/accumulate.h"
#include "autograd/autograd.h"
#include "core/error.h"
#include "ops/add.h"
#include "ops/clip_factor.h"
#include "ops/cross_entropy.h"
#include "ops/global_norm.h"
#include "ops/nan_above.h"
#include "ops/scale.h"
#include "train/diagnosis.h"

namespace weir {
namespace {

enum Sum { kLoss, kAuxiliaryLoss, kGradientNorm, kUpdatesBefore, kUpdatesAfter, kUnsound, kSums };
enum Limit { kLossLimit, kNormLimit, kLimits };

Tensor element(const Tensor& values, std::int64_t i) { return values.strided({}, {}, i); }

// Layer by layer, where they are not the same tensors.
void copy_each(const Memory& from, const Memory& to) {
  for (std::size_t layer = 0; layer < from.layers.size(); ++layer)
    if (!from.layers[layer].same_view(to.layers[layer])) copy_into(from.layers[layer], to.layers[layer]);
}

[[noreturn]] void end_at(const std::string& tensor) {
  throw RunError(ExitCode::diverged,
                 tensor + "; the run ends here since WEIR_CHECK_FINITE=1: without it such a step is skipped");
}

}  // namespace

TrainingStep::TrainingStep(const Config& config, const LanguageModel& model, StepMode mode)
    : config_(config),
      model_(model),
      check_finite_(checks_finite()),
      may_record_(mode == StepMode::recorded && !check_finite_ && can_record(model.device())),
      optimizer_(make_optimizer(config.optimizer, model.parameters())),
      learning_rate_(Tensor::zeros({}, DType::float64, model.device())),
      first_pass_(Tensor::zeros({}, DType::int32, model.device())),
      limits_(Tensor::zeros({kLimits}, DType::float64, model.device())),
      sums_(Tensor::zeros({kSums}, DType::float64, model.device())) {}

TrainingStep::Result TrainingStep::operator()(const std::function<Batch(std::int64_t)>& read,
                                              std::vector<Memory>& memories, std::int64_t step, double learning_rate,
                                              bool collect_statistics, const StepLimits& limits) {
  memories.resize(static_cast<std::size_t>(config_.train.accumulate));
  std::vector<Batch> batches;
  for (std::int64_t group = 0; group < config_.train.accumulate; ++group) batches.push_back(read(group));
  set_numbers(step, learning_rate, limits);
  std::vector<FeedforwardStatistics> statistics;
  const Way way = next_way(memories, collect_statistics);
  if (way == Way::replay) {
    if (recorded_.work == nullptr) record_step(batches, memories);
    replay(batches, memories);
  } else {
    for (Batch& batch : batches)
      batch = {to_device(batch.inputs, model_.device()), to_device(batch.targets, model_.device())};
    run(batches, memories, step, collect_statistics ? &statistics : nullptr);
    rehearsed_ = rehearsed_ || way == Way::rehearsal;
  }
  Result result = results();
  result.statistics = std::move(statistics);
  return result;
}

void TrainingStep::set_numbers(std::int64_t step, double learning_rate, const StepLimits& limits) {
  fill(learning_rate_, learning_rate);
  fill(element(limits_, kLossLimit), limits.loss);
  fill(element(limits_, kNormLimit), limits.gradient_norm);
  fill(first_pass_, static_cast<double>(static_cast<std::int32_t>(step * config_.train.accumulate)));
}

// The CPU's kernels take the number of the pass itself; others find it in their memory, which a recording can repeat.
ForwardContext TrainingStep::context_of(std::int64_t step, std::int64_t group) const {
  const bool on_cpu = model_.device().kind == DeviceKind::cpu;
  return {.training = true,
          .seed = static_cast<std::uint64_t>(config_.train.seed),
          .step = static_cast<std::uint32_t>((on_cpu ? step * config_.train.accumulate : 0) + group),
          .device_step = on_cpu ? nullptr : static_cast<const std::uint32_t*>(first_pass_.raw())};
}

void TrainingStep::run(const std::vector<Batch>& batches, std::vector<Memory>& memories, std::int64_t step,
                       std::vector<FeedforwardStatistics>* statistics) {
  fill(sums_, 0);
  model_.parameters().zero_gradients();
  observations_.clear();
  std::vector<FeedforwardStatistics> of_group;
  for (std::size_t group = 0; group < batches.size(); ++group) {
    ForwardContext context = context_of(step, static_cast<std::int64_t>(group));
    context.collect_statistics = statistics != nullptr && group + 1 == batches.size();
    run_group(batches[group], memories[group], context, of_group);
  }
  if (statistics != nullptr) *statistics = std::move(of_group);
  update();
}

void TrainingStep::run_group(const Batch& batch, Memory& memory, const ForwardContext& context,
                             std::vector<FeedforwardStatistics>& statistics) {
  std::optional<ObserveOps> observe;
  if (check_finite_) observe.emplace(report_not_finite(model_.parameters(), end_at));
  LanguageModelOutput out = model_(batch.inputs, memory, config_.model.memory_length(), context);
  const Tensor loss = cross_entropy(out.logits, batch.targets, LogitsAfterwards::gradient);
  const Tensor total = out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss;
  const double share = 1.0 / static_cast<double>(config_.train.accumulate);
  backward(config_.train.accumulate == 1 ? total : scale(total, share));
  if (check_finite_)
    if (const auto bad = first_bad_gradient(model_.parameters())) end_at(*bad);
  const NoGradient guard;
  const auto add_share = [&](const Tensor& term, Sum sum) {
    const Tensor exact = reshaped(converted(term.detach(), DType::float64), {});
    add_into(scale(exact, share), element(sums_, sum));
  };
  add_share(loss, kLoss);
  if (out.auxiliary_loss.defined()) add_share(out.auxiliary_loss, kAuxiliaryLoss);
  memory = std::move(out.memory);
  statistics = std::move(out.statistics);
  for (Observation& o : out.observations) observations_.push_back(std::move(o));
}

void TrainingStep::update() {
  const NoGradient guard;
  const Tensor norm = global_norm(model_.parameters().gradients());
  copy_into(norm, element(sums_, kGradientNorm));
  // A loss or norm that is not finite, or above its limit, makes this sum so, and then no factor is, and nothing is
  // updated.
  const Tensor loss = nan_above(element(sums_, kLoss), element(limits_, kLossLimit));
  const Tensor judged = nan_above(norm, element(limits_, kNormLimit)) + scale(loss, 0);
  const Tensor factor = clip_factor(judged, config_.optimizer.clip);
  copy_into(optimizer_->update_count(), element(sums_, kUpdatesBefore));
  optimizer_->step(learning_rate_, factor);
  copy_into(optimizer_->update_count(), element(sums_, kUpdatesAfter));
  model_.parameters().update_buffers(std::exchange(observations_, {}), factor);
  copy_into(optimizer_->unsound(), element(sums_, kUnsound));
}

TrainingStep::Way TrainingStep::next_way(const std::vector<Memory>& memories, bool collect_statistics) const {
  const bool repeats =
      may_record_ && !collect_statistics && std::all_of(memories.begin(), memories.end(), [&](const Memory& memory) {
        return memory.length() == config_.model.memory_length();
      });
  if (!repeats) return Way::eager;
  return rehearsed_ ? Way::replay : Way::rehearsal;
}

void TrainingStep::record_step(const std::vector<Batch>& batches, const std::vector<Memory>& memories) {
  const auto place_of = [&](const Tensor& ids) { return Tensor::empty(ids.shape(), ids.dtype(), model_.device()); };
  for (const Batch& batch : batches) recorded_.batches.push_back({place_of(batch.inputs), place_of(batch.targets)});
  for (const Memory& memory : memories) {
    Memory& place = recorded_.memories.emplace_back();
    for (const Tensor& layer : memory.layers) place.layers.push_back(Tensor::empty_like(layer));
  }
  // The memory that steps used until now goes back first; the recording has its own.
  allocator(model_.device()).trim();
  recorded_.work = record(model_.device(), [&] {
    std::vector<Memory> next = recorded_.memories;
    run(recorded_.batches, next, 0, nullptr);
    for (std::size_t group = 0; group < next.size(); ++group) copy_each(next[group], recorded_.memories[group]);
  });
}

void TrainingStep::replay(const std::vector<Batch>& batches, std::vector<Memory>& memories) {
  for (std::size_t group = 0; group < batches.size(); ++group) {
    copy_into(batches[group].inputs, recorded_.batches[group].inputs);
    copy_into(batches[group].targets, recorded_.batches[group].targets);
    copy_each(memories[group], recorded_.memories[group]);
  }
  memories = recorded_.memories;
  recorded_.work->replay();
}

TrainingStep::Result TrainingStep::results() const {
  const std::vector<double> sums = sums_.values();
  return {.loss = sums[kLoss],
          .auxiliary_loss = sums[kAuxiliaryLoss],
          .gradient_norm = sums[kGradientNorm],
          .applied = sums[kUpdatesAfter] > sums[kUpdatesBefore],
          .sound = sums[kUnsound] == 0,
          .statistics = {}};
}

}  // namespace weir
