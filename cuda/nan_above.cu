#include "ops/nan_above.h"

#include <limits>

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct NanAbove {
  template <class Value>
  __device__ Value operator()(Value x, Value limit) const {
    return x <= limit ? x : std::numeric_limits<Value>::quiet_NaN();
  }
};

void nan_above(const Tensor& x, const Tensor& limit, const Tensor& y) {
  visit_floating("nan_above", y.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(y, NanAbove{}, x, limit); });
}

const bool registered = nan_above_kernel.add(DeviceKind::cuda, nan_above);

}  // namespace
}  // namespace weir::cuda
