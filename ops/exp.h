#pragma once

#include <cmath>

#include "ops/support/elementwise_op.h"

namespace weir {

// e^x, element by element.
Tensor exp(const Tensor& x);
extern UnaryOp exp_op;

struct Exp {  // the CPU has its own
  WEIR_HOST_DEVICE auto operator()(auto x) const { return std::exp(x); }
};

struct ExpBackward {
  WEIR_HOST_DEVICE auto operator()(auto y, auto dy) const { return dy * y; }
};

}  // namespace weir
