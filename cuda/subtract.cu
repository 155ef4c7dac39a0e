#include "ops/subtract.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct Subtract {
  template <class Value>
  __device__ Value operator()(Value a, Value b) const {
    return a - b;
  }
};

void subtract(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating("subtract", y.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(y, Subtract{}, a, b); });
}

const bool registered = subtract_kernel.add(DeviceKind::cuda, subtract);

}  // namespace
}  // namespace weir::cuda
