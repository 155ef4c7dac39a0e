#include "ops/square.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct Square {
  template <class Value>
  __device__ Value operator()(Value x) const {
    return x * x;
  }
};

struct SquareBackward {
  template <class Value>
  __device__ Value operator()(Value x, Value dy) const {
    return 2 * x * dy;
  }
};

void square(const Tensor& x, const Tensor& y) {
  visit_floating("square", x.dtype(), [&]<class T>(Type<T>) { elementwise<T, T>(y, Square{}, x); });
}

void square_backward(const Tensor& x, const Tensor& dy, const Tensor& dx) {
  visit_floating("square", dy.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(dx, SquareBackward{}, x, dy); });
}

const bool registered =
    square_kernel.add(DeviceKind::cuda, square) && square_backward_kernel.add(DeviceKind::cuda, square_backward);

}  // namespace
}  // namespace weir::cuda
