#include "train/diagnosis.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <optional>

#include "autograd/autograd.h"
#include "autograd/observe.h"
#include "ops/add.h"
#include "ops/cross_entropy.h"
#include "train/not_finite.h"

namespace weir {
namespace {

// The parameter of which `t` is a view; null where it is none.
const Parameter* parameter_of(const Tensor& t, const ParameterSet& parameters) {
  if (!t.defined() || t.storage() != parameters.values().storage()) return nullptr;
  const Parameter* found = nullptr;
  for (const Parameter& p : parameters.parameters())
    if (std::less_equal<>()(p.value.raw(), t.raw())) found = &p;  // they lie in their order
  return found;
}

std::vector<NamedTensor> values_of(const ParameterSet& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters.parameters()) tensors.push_back({p.name, p.value.detach()});
  return tensors;
}

std::vector<NamedTensor> gradients_of(const ParameterSet& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters.parameters()) tensors.push_back({"the gradient of " + p.name, p.gradient});
  return tensors;
}

// What of a step's forward and backward pass is not finite first.
std::optional<std::string> fault_of_step(const TransformerXl& model, const Batch& batch, const Memory& memory,
                                         const ForwardContext& context) {
  const ParameterSet& parameters = model.parameters();
  std::optional<std::string> found;
  std::string place;
  const ObserveOps observe([&](const char* op, std::span<const Tensor> inputs, std::span<const Tensor> outputs) {
    for (const Tensor& input : inputs)
      if (const Parameter* p = parameter_of(input, parameters)) place = p->name;
    for (const Tensor& output : outputs)
      if (!found) found = first_not_finite(fmt::format("what {} gives at {}", op, place), output.detach());
  });
  parameters.zero_gradients();
  const Device device = model.device();
  const LanguageModelOutput out =
      model(to_device(batch.inputs, device), memory, model.config().memory_length(), context);
  const Tensor loss = cross_entropy(out.logits, to_device(batch.targets, device));
  if (!found) backward(out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss);
  return found ? found : first_not_finite(parameters.gradients(), gradients_of(parameters));
}

std::string largest_weight(const ParameterSet& parameters) {
  double largest = 0;
  std::string name = "none";
  for (const NamedTensor& tensor : values_of(parameters))
    for (const double value : tensor.tensor.values())
      if (std::abs(value) > largest) {
        largest = std::abs(value);
        name = tensor.name;
      }
  return fmt::format("made again, the step has no tensor that is not finite; the largest weight, {:.3g}, is in {}",
                     largest, name);
}

}  // namespace

std::string first_fault(const TransformerXl& model, const Batch& batch, const Memory& memory,
                        const ForwardContext& context) {
  const ParameterSet& parameters = model.parameters();
  std::optional<std::string> found = first_not_finite(parameters.values(), values_of(parameters));
  if (!found) found = fault_of_step(model, batch, memory, context);
  if (!found) return largest_weight(parameters);
  return "made again, the first tensor of the step that is not finite: " + *found;
}

}  // namespace weir
