#include "ops/negate.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct Negate {
  template <class Value>
  __device__ Value operator()(Value x) const {
    return -x;
  }
};

void negate(const Tensor& x, const Tensor& y) {
  visit_floating("negate", x.dtype(), [&]<class T>(Type<T>) { elementwise<T, T>(y, Negate{}, x); });
}

const bool registered = negate_kernel.add(DeviceKind::cuda, negate);

}  // namespace
}  // namespace weir::cuda
