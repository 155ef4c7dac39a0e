// A typed slot per op for its kernels: one function per kind of device, found in one place.
//
// An op owns the slot, `Kernel<void(const Tensor& x, const Tensor& y)> softmax_kernel{"softmax"};`, and calls it with a
// device; each backend fills its entry from its own file: `const bool cpu = softmax_kernel.add(DeviceKind::cpu,
// softmax_cpu);`. Slots are constant-initialised, so it does not matter which file's initialisers run first.
#pragma once

#include <array>
#include <string>
#include <utility>

#include "core/device.h"
#include "core/error.h"
#include "core/gradient_mode.h"
#include "core/kernel_cost.h"
#include "core/profile_range.h"
#include "core/tensor.h"

namespace weir {

template <class Signature>
class Kernel;

template <class... Parameters>
class Kernel<void(Parameters...)> {
 public:
  using Function = void (*)(Parameters...);
  using Cost = KernelCost (*)(Parameters...);

  // `cost`: of one call; left out, no arithmetic that counts, and all tensors read or written once.
  constexpr explicit Kernel(const char* op, Cost cost = nullptr) : op_(op), cost_(cost) {}

  // Registers a device's kernel; returns true so that it can initialise a variable at namespace scope.
  bool add(DeviceKind kind, Function function) {
    Function& entry = functions_[static_cast<std::size_t>(kind)];
    if (entry != nullptr) throw InternalError(std::string(op_) + " has two kernels for one kind of device");
    entry = function;
    return true;
  }

  // Throws ArgumentError where one of the tensors is on another device, RunError(unavailable) where there is no kernel.
  template <class... Arguments>
  void operator()(Device device, Arguments&&... arguments) const {
    (for_each_tensor_of([&](const Tensor& t) { check_place(device, t); }, arguments), ...);
    const CostTrace::Call call;
    if (call.counts()) call.add(cost_ != nullptr ? cost_(arguments...) : KernelCost{.bytes = bytes_of(arguments...)});
    const Function function = functions_[static_cast<std::size_t>(device.kind)];
    if (function == nullptr) {
      if (device.kind == DeviceKind::meta) return;  // there is nothing to compute
      throw RunError(ExitCode::unavailable, std::string(op_) + " has no kernel for device " + device_name(device) +
                                                "; compute on the cpu, and report it, for every op should have one");
    }
    const ProfileRange range(op_);
    const NoGradient guard;  // a kernel takes its tensors apart as it likes
    function(std::forward<Arguments>(arguments)...);
  }

  bool has(DeviceKind kind) const { return functions_[static_cast<std::size_t>(kind)] != nullptr; }

 private:
  void check_place(Device device, const Tensor& t) const {
    if (t.defined() && t.device() != device)
      throw ArgumentError(std::string(op_) + ": expected all tensors on one device, got one on " + device_name(device) +
                          " and one on " + device_name(t.device()) + "; move one with to_device()");
  }

  const char* op_;
  Cost cost_;
  std::array<Function, kDeviceKinds> functions_{};
};

}  // namespace weir
