#include "ops/sqrt.h"

#include <cmath>

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct Sqrt {
  template <class Value>
  __device__ Value operator()(Value x) const {
    return std::sqrt(x);
  }
};

struct SqrtBackward {
  template <class Value>
  __device__ Value operator()(Value y, Value dy) const {
    return dy / (2 * y);
  }
};

void sqrt(const Tensor& x, const Tensor& y) {
  visit_floating("sqrt", x.dtype(), [&]<class T>(Type<T>) { elementwise<T, T>(y, Sqrt{}, x); });
}

void sqrt_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  visit_floating("sqrt", dy.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(dx, SqrtBackward{}, y, dy); });
}

const bool registered =
    sqrt_kernel.add(DeviceKind::cuda, sqrt) && sqrt_backward_kernel.add(DeviceKind::cuda, sqrt_backward);

}  // namespace
}  // namespace weir::cuda
