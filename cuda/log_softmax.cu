#include "ops/log_softmax.h"

#include "cuda/softmax_rows.cuh"

namespace weir::cuda {
namespace {

// dx = dy - e^y (sum of dy)
struct LogSoftmax {
  template <class Value>
  __device__ Value prepared(Value sum) const {
    return std::log(sum);
  }
  template <class Value>
  __device__ Value result(Value shifted, Value log_sum) const {
    return shifted - log_sum;
  }
  template <class Value>
  __device__ Value term(Value, Value dy) const {
    return dy;
  }
  template <class Value>
  __device__ Value gradient(Value y, Value dy, Value sum) const {
    return dy - std::exp(y) * sum;
  }
};

void log_softmax(const Tensor& x, const Tensor& y) { softmax_forward<LogSoftmax>("log_softmax", x, y); }

void log_softmax_gradient(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  softmax_backward<LogSoftmax>("log_softmax", y, dy, dx);
}

const bool registered = log_softmax_kernel.add(DeviceKind::cuda, log_softmax) &&
                        log_softmax_backward_kernel.add(DeviceKind::cuda, log_softmax_gradient);

}  // namespace
}  // namespace weir::cuda
