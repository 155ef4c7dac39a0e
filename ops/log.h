#pragma once

#include <cmath>

#include "ops/support/elementwise_op.h"

namespace weir {

// The natural logarithm, element by element: -infinity at 0, NaN below.
Tensor log(const Tensor& x);
extern UnaryOp log_op;

struct Log {  // the CPU has its own
  WEIR_HOST_DEVICE auto operator()(auto x) const { return std::log(x); }
};

struct LogBackward {
  WEIR_HOST_DEVICE auto operator()(auto x, auto dy) const { return dy / x; }
};

}  // namespace weir
