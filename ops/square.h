#pragma once

#include "ops/support/elementwise_op.h"

namespace weir {

// x * x, element by element.
Tensor square(const Tensor& x);
extern UnaryOp square_op;

struct Square {
  WEIR_HOST_DEVICE auto operator()(auto x) const { return x * x; }
};

struct SquareBackward {
  WEIR_HOST_DEVICE auto operator()(auto x, auto dy) const { return 2 * x * dy; }
};

}  // namespace weir
