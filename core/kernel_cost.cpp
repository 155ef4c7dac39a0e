#include "core/kernel_cost.h"

#include <utility>

namespace weir {
namespace {

thread_local constinit CostTrace* trace_of_thread = nullptr;

}  // namespace

double tensor_bytes(const Tensor& t) {
  if (!t.defined()) return 0;
  double bytes = static_cast<double>(dtype_size(t.dtype()));
  for (int axis = 0; axis < t.rank(); ++axis)
    if (t.strides()[axis] != 0 || t.size(axis) == 0) bytes *= static_cast<double>(t.size(axis));
  return bytes;
}

CostTrace::CostTrace() : before_(std::exchange(trace_of_thread, this)) {}

CostTrace::~CostTrace() { trace_of_thread = before_; }

KernelCost cost_of(const std::function<void()>& work) {
  const CostTrace trace;
  work();
  return trace.total();
}

CostTrace::Call::Call() : trace_(std::exchange(trace_of_thread, nullptr)) {}

CostTrace::Call::~Call() { trace_of_thread = trace_; }

}  // namespace weir
