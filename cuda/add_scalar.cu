#include "ops/add_scalar.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

template <class Value>
struct AddScalar {
  Value term;
  __device__ Value operator()(Value x) const { return x + term; }
};

void add_scalar(const Tensor& x, double term, const Tensor& y) {
  visit_floating("add_scalar", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    elementwise<T, T>(y, AddScalar<Value>{static_cast<Value>(term)}, x);
  });
}

const bool registered = add_scalar_kernel.add(DeviceKind::cuda, add_scalar);

}  // namespace
}  // namespace weir::cuda
