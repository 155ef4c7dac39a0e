#pragma once

#include <cmath>

#include "ops/support/elementwise_op.h"

namespace weir {

// 1 / (1 + e^-x), element by element.
Tensor sigmoid(const Tensor& x);
extern UnaryOp sigmoid_op;

struct Sigmoid {  // the CPU has its own
  WEIR_HOST_DEVICE auto operator()(auto x) const { return 1 / (1 + std::exp(-x)); }
};

struct SigmoidBackward {
  WEIR_HOST_DEVICE auto operator()(auto y, auto dy) const { return dy * y * (1 - y); }
};

}  // namespace weir
