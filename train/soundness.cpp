#include "train/soundness.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/autograd.h"
#include "ops/adamw_update.h"
#include "ops/cross_entropy.h"
#include "ops/global_norm.h"

namespace weir {
namespace {

constexpr std::int64_t kSegments = 2;

double loss_on(const LanguageModel& model, const Batch& batch, const Memory& memory) {
  const NoGradient guard;
  const Device device = model.device();
  const Tensor logits = model(to_device(batch.inputs, device), memory, model.config().memory_length(), {}).logits;
  return cross_entropy(logits, to_device(batch.targets, device)).item();
}

// Of the loss on held-back data between two checkpoints.
double highest_after(double before) { return before + std::max(1.0, before / 2); }

}  // namespace

bool are_sound(const ParameterSet& parameters, const Optimizer& optimizer) {
  return global_norm(parameters.values()).item() <= kLargestSound &&
         std::all_of(parameters.buffers().begin(), parameters.buffers().end(),
                     [](const Buffer& b) { return global_norm(b.value).item() <= kLargestSound; }) &&
         std::all_of(optimizer.state().begin(), optimizer.state().end(), [](const StateArena& arena) {
           return global_norm(arena.values()).item() <= arena.largest_sound();
         });
}

Soundness judge_weights(const LanguageModel& model, const Corpus& held_back, const EvalConfig& eval,
                        std::optional<double> before, const Batch& next, const Memory& memory,
                        const SpikeDetector& detector) {
  EvalConfig probe = eval;
  probe.max_tokens = kSegments * eval.batch_size * model.config().segment;
  const double good = detector.good_loss(), highest = before ? std::min(good, highest_after(*before)) : good;
  if (detector.recent_loss() > good)
    return {
        .good = false,
        .held_back_nats = 0,
        .why = fmt::format("the weights look damaged: the loss of the last steps is {:.4g} nats, where at most {:.4g} "
                           "is expected",
                           detector.recent_loss(), good)};
  Soundness found{.good = false, .held_back_nats = evaluate(model, held_back, probe).nats_per_token, .why = {}};
  found.good = found.held_back_nats <= highest;
  found.why =
      fmt::format("the weights look damaged: their held-out loss is {:.4g} nats, where at most {:.4g} is expected",
                  found.held_back_nats, highest);
  if (found.good || !(found.held_back_nats <= detector.absurd_loss())) return found;
  found.good = loss_on(model, next, memory) <= std::min(good, detector.suspicious_loss());
  return found;
}

}  // namespace weir
