#pragma once

#include "ops/support/elementwise_op.h"

namespace weir {

// -x, element by element.
Tensor negate(const Tensor& x);
inline Tensor operator-(const Tensor& x) { return negate(x); }
extern ScalarOp negate_op;

template <class Value>
struct Negate {
  Value constant;
  WEIR_HOST_DEVICE Value operator()(Value x) const { return -x; }
};

}  // namespace weir
