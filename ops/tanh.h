#pragma once

#include <cmath>

#include "ops/support/elementwise_op.h"

namespace weir {

// The hyperbolic tangent, element by element.
Tensor tanh(const Tensor& x);
extern UnaryOp tanh_op;

struct Tanh {  // the CPU has its own
  WEIR_HOST_DEVICE auto operator()(auto x) const { return std::tanh(x); }
};

struct TanhBackward {
  WEIR_HOST_DEVICE auto operator()(auto y, auto dy) const { return dy * (1 - y * y); }
};

}  // namespace weir
