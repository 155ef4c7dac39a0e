#include "ops/add.h"

#include "cuda/elementwise.cuh"
#include "cuda/formulas.cuh"

namespace weir::cuda {
namespace {

void add(const Tensor& a, const Tensor& b, const Tensor& y) {
  visit_floating("add", y.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(y, Add{}, a, b); });
}

const bool registered = add_kernel.add(DeviceKind::cuda, add);

}  // namespace
}  // namespace weir::cuda
