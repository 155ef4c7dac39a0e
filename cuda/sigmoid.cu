#include "ops/sigmoid.h"

#include "cuda/elementwise.cuh"
#include "cuda/formulas.cuh"

namespace weir::cuda {
namespace {

void sigmoid(const Tensor& x, const Tensor& y) {
  visit_floating("sigmoid", x.dtype(), [&]<class T>(Type<T>) { elementwise<T, T>(y, Sigmoid{}, x); });
}

void sigmoid_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  visit_floating("sigmoid", dy.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(dx, SigmoidBackward{}, y, dy); });
}

const bool registered =
    sigmoid_kernel.add(DeviceKind::cuda, sigmoid) && sigmoid_backward_kernel.add(DeviceKind::cuda, sigmoid_backward);

}  // namespace
}  // namespace weir::cuda
