// What the suites over all op records share: which ops, samples and devices, and how an op is run.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "autograd/autograd.h"
#include "core/device.h"
#include "core/error.h"
#include "core/op_info.h"

namespace weir::tests {

// WEIR_OP=softmax limits the suite to one op, WEIR_OP=softmax,relu to two; WEIR_DEVICE=cuda to one device.
inline std::vector<OpRecord> chosen_records() {
  const char* const only = std::getenv("WEIR_OP");
  if (only == nullptr) return op_records();
  std::vector<OpRecord> chosen;
  std::stringstream names(only);
  for (std::string name; std::getline(names, name, ',');) {
    const auto found = std::find_if(op_records().begin(), op_records().end(),
                                    [&](const OpRecord& record) { return record.name == name; });
    if (found == op_records().end()) throw ArgumentError("WEIR_OP: no op is named '" + name + "'");
    chosen.push_back(*found);
  }
  if (chosen.empty()) throw ArgumentError("WEIR_OP: expected names of ops, got none");
  return chosen;
}

inline std::vector<Device> chosen_devices() {
  const char* only = std::getenv("WEIR_DEVICE");
  return only == nullptr ? available_devices() : std::vector{device_from_name(only)};
}

// Calls f(record, sample, device) for every sample of every op, on every device there is. WEIR_SAMPLE=odd limits it to
// the samples of that name.
template <class F>
void for_each_sample(F&& f) {
  const std::vector<OpRecord> records = chosen_records();
  const char* const only = std::getenv("WEIR_SAMPLE");
  bool found = false;
  for (const Device device : chosen_devices())
    for (const OpRecord& record : records)
      for (const Sample& sample : record.samples())
        if (only == nullptr || sample.name == only) found = true, f(record, sample, device);
  if (!found) throw ArgumentError(std::string("WEIR_SAMPLE: no sample of the chosen ops is named '") + only + "'");
}

// Floating inputs in that dtype, all inputs on that device.
inline std::vector<Tensor> inputs_of(const Sample& sample, DType dtype, Device device) {
  std::vector<Tensor> result;
  for (const Tensor& t : sample.inputs)
    result.push_back(to_device(is_floating(t.dtype()) ? converted(t, dtype) : t, device));
  return result;
}

// The op's outputs, then the gradients of its floating inputs for output gradients of one half.
inline std::vector<Tensor> forward_and_gradients(const Sample& sample, std::span<const Tensor> inputs,
                                                 bool differentiable) {
  std::vector<Tensor> leaves, wanted;
  for (const Tensor& t : inputs) {
    leaves.push_back(t.detach());
    if (differentiable && is_floating(t.dtype())) wanted.push_back(require_gradient(leaves.back()));
  }
  std::vector<Tensor> outputs = sample.run(leaves), result = outputs, active, dys;
  for (const Tensor& y : outputs)
    if (requires_gradient(y)) active.push_back(y), dys.push_back(Tensor::full(y.shape(), 0.5, y.dtype(), y.device()));
  if (!active.empty())
    for (Tensor& dx : gradients(active, wanted, dys)) result.push_back(std::move(dx));
  return result;
}

}  // namespace weir::tests
