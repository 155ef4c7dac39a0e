#pragma once

#include "ops/support/elementwise_op.h"

namespace weir {

// x * factor, element by element; the factor is a constant.
Tensor scale(const Tensor& x, double factor);
extern ScalarOp scale_op;

template <class Value>
struct Scale {
  Value constant;
  WEIR_HOST_DEVICE Value operator()(Value x) const { return x * constant; }
};

}  // namespace weir
