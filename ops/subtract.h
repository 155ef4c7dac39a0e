#pragma once

#include "ops/support/elementwise_op.h"

namespace weir {

// a - b, element by element, with broadcasting. Same floating dtype on both sides.
Tensor subtract(const Tensor& a, const Tensor& b);
inline Tensor operator-(const Tensor& a, const Tensor& b) { return subtract(a, b); }
extern BinaryOp subtract_op;

struct Subtract {
  WEIR_HOST_DEVICE auto operator()(auto a, auto b) const { return a - b; }
};

}  // namespace weir
