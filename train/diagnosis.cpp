#include "train/diagnosis.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "autograd/autograd.h"
#include "autograd/node.h"
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

// What of a step's forward and backward pass is not finite first.
std::optional<std::string> fault_of_step(const LanguageModel& model, const Batch& batch, const Memory& memory,
                                         const ForwardContext& context) {
  const ParameterSet& parameters = model.parameters();
  std::optional<std::string> found;
  const ObserveOps observe(report_not_finite(parameters, [&](const std::string& tensor) {
    if (!found) found = tensor;
  }));
  parameters.zero_gradients();
  const Device device = model.device();
  const LanguageModelOutput out =
      model(to_device(batch.inputs, device), memory, model.config().memory_length(), context);
  const Tensor loss = cross_entropy(out.logits, to_device(batch.targets, device));
  if (!found) backward(out.auxiliary_loss.defined() ? loss + out.auxiliary_loss : loss);
  return found ? found : first_bad_gradient(parameters);
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
  return fmt::format("repeating the step gave only finite tensors; the largest weight, {:.3g}, is in {}", largest,
                     name);
}

}  // namespace

OpObserver report_not_finite(const ParameterSet& parameters, std::function<void(const std::string&)> report) {
  return [&parameters, report = std::move(report), place = std::string("the embedding")](
             const char* op, std::span<const Tensor> inputs, std::span<const Tensor> outputs) mutable {
    for (const Tensor& input : inputs)
      if (const Parameter* p = parameter_of(input, parameters)) place = p->name;
    const std::string name =
        fmt::format("the output of {} ({})", op, adding_to_leaves() ? "in the backward pass" : place);
    for (const Tensor& output : outputs)
      if (const auto bad = first_not_finite(name, output.detach())) report(*bad);
  };
}

std::optional<std::string> first_bad_gradient(const ParameterSet& parameters) {
  const Tensor& all = parameters.gradients();
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters.parameters())
    tensors.push_back({"the gradient of " + p.name, parameters.view_in(all, p)});
  return first_not_finite(all, tensors);
}

bool checks_finite() {
  const char* const asked = std::getenv("WEIR_CHECK_FINITE");
  return asked != nullptr && std::string_view(asked) == "1";
}

std::string first_fault(const LanguageModel& model, const Batch& batch, const Memory& memory,
                        const ForwardContext& context) {
  const ParameterSet& parameters = model.parameters();
  std::optional<std::string> found = first_not_finite(parameters.values(), values_of(parameters));
  for (const Buffer& b : parameters.buffers())
    if (!found) found = first_not_finite(b.name, b.value);
  if (!found) found = fault_of_step(model, batch, memory, context);
  if (!found) return largest_weight(parameters);
  return "repeating the step, the first tensor that is not finite: " + *found;
}

}  // namespace weir
