#pragma once

#include "ops/support/elementwise_op.h"

namespace weir {

// max(x, 0), element by element; the gradient at 0 is 0. Any shape.
Tensor relu(const Tensor& x);
extern UnaryOp relu_op;

struct Relu {  // NaN stays
  WEIR_HOST_DEVICE auto operator()(auto x) const { return x > 0 ? x : (x != x ? x : decltype(x)(0)); }
};

struct ReluBackward {
  WEIR_HOST_DEVICE auto operator()(auto y, auto dy) const { return y > 0 ? dy : decltype(dy)(0); }
};

}  // namespace weir
