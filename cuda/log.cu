#include "ops/log.h"

#include <cmath>

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct Log {
  template <class Value>
  __device__ Value operator()(Value x) const {
    return std::log(x);
  }
};

void log(const Tensor& x, const Tensor& y) {
  visit_floating("log", x.dtype(), [&]<class T>(Type<T>) { elementwise<T, T>(y, Log{}, x); });
}

const bool registered = log_kernel.add(DeviceKind::cuda, log);

}  // namespace
}  // namespace weir::cuda
