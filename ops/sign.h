#pragma once

#include "ops/support/elementwise_op.h"

namespace weir {

// 1 where x is above 0, -1 where it is below, 0 at 0, element by element; NaN stays. The gradient is 0. Any shape.
Tensor sign(const Tensor& x);
extern UnaryOp sign_op;

struct Sign {
  WEIR_HOST_DEVICE auto operator()(auto x) const {
    using Value = decltype(x);
    return x > 0 ? Value(1) : (x < 0 ? Value(-1) : x);
  }
};

struct SignBackward {
  WEIR_HOST_DEVICE auto operator()(auto /*x*/, auto dy) const { return decltype(dy)(0); }
};

}  // namespace weir
