#include "ops/divide.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct Divide {
  template <class Value>
  __device__ Value operator()(Value a, Value b) const {
    return a / b;
  }
};

void divide(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating("divide", y.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(y, Divide{}, a, b); });
}

const bool registered = divide_kernel.add(DeviceKind::cuda, divide);

}  // namespace
}  // namespace weir::cuda
