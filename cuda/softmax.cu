#include "ops/softmax.h"

#include "cuda/softmax_rows.cuh"

namespace weir::cuda {
namespace {

// dx = y (dy - sum of y dy)
struct Softmax {
  template <class Value>
  __device__ Value prepared(Value sum) const {
    return 1 / sum;
  }
  template <class Value>
  __device__ Value result(Value shifted, Value inverse) const {
    return std::exp(shifted) * inverse;
  }
  template <class Value>
  __device__ Value term(Value y, Value dy) const {
    return y * dy;
  }
  template <class Value>
  __device__ Value gradient(Value y, Value dy, Value sum) const {
    return y * (dy - sum);
  }
};

void softmax(const Tensor& x, const Tensor& y) { softmax_forward<Softmax>("softmax", x, y); }

void softmax_gradient(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  softmax_backward<Softmax>("softmax", y, dy, dx);
}

const bool registered =
    softmax_kernel.add(DeviceKind::cuda, softmax) && softmax_backward_kernel.add(DeviceKind::cuda, softmax_gradient);

}  // namespace
}  // namespace weir::cuda
