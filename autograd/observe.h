// Shows what every op gives, to whoever looks for the one that goes wrong.
#pragma once

#include <functional>
#include <span>

#include "core/tensor.h"

namespace weir {

using OpObserver = std::function<void(const char* op, std::span<const Tensor> inputs, std::span<const Tensor> outputs)>;

// To the end of the scope, calls `observer` after each differentiable op of this thread. Backward passes show where
// they are written with ops.
class ObserveOps {
 public:
  explicit ObserveOps(OpObserver observer);
  ~ObserveOps();
  ObserveOps(const ObserveOps&) = delete;
  ObserveOps& operator=(const ObserveOps&) = delete;

 private:
  const OpObserver observer_;
  const OpObserver* const before_;
};

}  // namespace weir
