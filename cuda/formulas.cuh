// Formulas that several kernels share.
#pragma once

#include "cuda/device.h"

namespace weir::cuda {

struct Add {
  template <class Value>
  __device__ Value operator()(Value a, Value b) const {
    return a + b;
  }
};

// NaN stays.
struct Relu {
  template <class Value>
  __device__ Value operator()(Value x) const {
    return x > 0 || x != x ? x : Value(0);
  }
};

}  // namespace weir::cuda
