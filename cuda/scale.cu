#include "ops/scale.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

template <class Value>
struct Scale {
  Value factor;
  __device__ Value operator()(Value x) const { return x * factor; }
};

void scale(const Tensor& x, double factor, const Tensor& y) {
  visit_floating("scale", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    elementwise<T, T>(y, Scale<Value>{static_cast<Value>(factor)}, x);
  });
}

const bool registered = scale_kernel.add(DeviceKind::cuda, scale);

}  // namespace
}  // namespace weir::cuda
