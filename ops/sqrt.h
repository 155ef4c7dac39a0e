#pragma once

#include <cmath>

#include "ops/support/elementwise_op.h"

namespace weir {

// The square root, element by element: NaN below 0; the gradient at 0 is infinite.
Tensor sqrt(const Tensor& x);
extern UnaryOp sqrt_op;

struct Sqrt {
  WEIR_HOST_DEVICE auto operator()(auto x) const { return std::sqrt(x); }
};

struct SqrtBackward {
  WEIR_HOST_DEVICE auto operator()(auto y, auto dy) const { return dy / (2 * y); }
};

}  // namespace weir
