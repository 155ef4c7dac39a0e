#include "ops/multiply.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct Multiply {
  template <class Value>
  __device__ Value operator()(Value a, Value b) const {
    return a * b;
  }
};

void multiply(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating("multiply", y.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(y, Multiply{}, a, b); });
}

const bool registered = multiply_kernel.add(DeviceKind::cuda, multiply);

}  // namespace
}  // namespace weir::cuda
