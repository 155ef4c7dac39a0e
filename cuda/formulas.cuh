// Formulas that several kernels share.
#pragma once

#include <cmath>

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

struct Sigmoid {
  template <class Value>
  __device__ Value operator()(Value x) const {
    return 1 / (1 + std::exp(-x));
  }
};

struct SigmoidBackward {
  template <class Value>
  __device__ Value operator()(Value y, Value dy) const {
    return dy * y * (1 - y);
  }
};

}  // namespace weir::cuda
