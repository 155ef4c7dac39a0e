#pragma once

#include "ops/support/elementwise_op.h"

namespace weir {

// a / b, element by element, with broadcasting. Same floating dtype on both sides.
Tensor divide(const Tensor& a, const Tensor& b);
inline Tensor operator/(const Tensor& a, const Tensor& b) { return divide(a, b); }
extern BinaryOp divide_op;

struct Divide {
  WEIR_HOST_DEVICE auto operator()(auto a, auto b) const { return a / b; }
};

}  // namespace weir
