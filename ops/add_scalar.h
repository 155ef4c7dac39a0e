#pragma once

#include "ops/support/elementwise_op.h"

namespace weir {

// x + term, element by element; the term is a constant.
Tensor add_scalar(const Tensor& x, double term);
extern ScalarOp add_scalar_op;

template <class Value>
struct AddScalar {
  Value constant;
  WEIR_HOST_DEVICE Value operator()(Value x) const { return x + constant; }
};

}  // namespace weir
