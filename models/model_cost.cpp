#include "models/model_cost.h"

#include <algorithm>
#include <limits>

#include "autograd/autograd.h"
#include "core/kernel_cost.h"
#include "models/language_model.h"
#include "ops/add.h"
#include "ops/cross_entropy.h"

namespace weir {
namespace {

constexpr Device kMeta{DeviceKind::meta};

struct StepCost {
  double forward_flops = 0;
  double bytes = 0;  // at most, beside the parameters and their gradients
};

// A training step of `model`, which is declared and gets its parameters on the meta device, at full memory.
StepCost trace_step(LanguageModel& model, std::int64_t batch_size) {
  const ModelConfig& c = model.config();
  model.initialise(0, DType::float32, kMeta);
  Allocator& memory = allocator(kMeta);
  const std::size_t before = memory.statistics().in_use_bytes;
  memory.reset_peak();
  const Tensor ids = Tensor::empty({batch_size, c.segment}, DType::int32, kMeta);
  Memory past;
  for (const Shape& shape : model.memory_shapes(batch_size, c.memory_length()))
    past.layers.push_back(Tensor::empty(shape, model.activation_dtype(), kMeta));
  StepCost cost;
  const CostTrace trace;
  model.parameters().zero_gradients();
  const LanguageModelOutput out = model(ids, past, c.memory_length(), {.training = true});
  cost.forward_flops = trace.total().flops;
  const Tensor loss = cross_entropy(out.logits, ids, LogitsAfterwards::gradient);
  backward(out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss);
  cost.bytes = static_cast<double>(memory.statistics().peak_bytes - before);
  return cost;
}

// Beyond what tensors can hold, everything is too much.
StepCost step_cost(LanguageModel& model, std::int64_t batch_size) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  try {
    return trace_step(model, batch_size);
  } catch (const ShapeTooLarge&) {
    return {.forward_flops = kInfinity, .bytes = kInfinity};
  }
}

std::int64_t whole_bytes(double bytes) { return static_cast<std::int64_t>(std::min(bytes, 9e18)); }

}  // namespace

ModelCost model_cost(const ModelConfig& model, const FeedforwardConfig& feedforward, std::int64_t batch_size,
                     double state_bytes) {
  return model_cost(*make_language_model(model, feedforward), batch_size, state_bytes);
}

ModelCost model_cost(LanguageModel& declared, std::int64_t batch_size, double state_bytes) {
  const StepCost step = step_cost(declared, batch_size);
  ModelCost cost;
  cost.parameters = declared.parameters().count();
  cost.active_parameters = declared.active_parameters();
  cost.forward_flops_per_token = step.forward_flops / static_cast<double>(batch_size * declared.config().segment);
  cost.training_flops_per_token = 3 * cost.forward_flops_per_token;
  const double weights = (8 + state_bytes) * static_cast<double>(cost.parameters);  // and gradients, in float32
  cost.weight_bytes = whole_bytes(weights);
  cost.training_bytes = whole_bytes(weights + step.bytes);
  return cost;
}

}  // namespace weir
