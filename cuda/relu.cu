#include "ops/relu.h"

#include "cuda/elementwise.cuh"
#include "cuda/formulas.cuh"

namespace weir::cuda {
namespace {

struct ReluBackward {
  template <class Value>
  __device__ Value operator()(Value y, Value dy) const {
    return y > 0 ? dy : Value(0);
  }
};

void relu(const Tensor& x, const Tensor& y) {
  visit_floating("relu", x.dtype(), [&]<class T>(Type<T>) { elementwise<T, T>(y, Relu{}, x); });
}

void relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  visit_floating("relu", y.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(dx, ReluBackward{}, y, dy); });
}

const bool registered =
    relu_kernel.add(DeviceKind::cuda, relu) && relu_backward_kernel.add(DeviceKind::cuda, relu_backward);

}  // namespace
}  // namespace weir::cuda
