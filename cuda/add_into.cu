#include "autograd/accumulate.h"
#include "cuda/elementwise.cuh"
#include "ops/add.h"

namespace weir::cuda {
namespace {

void add_into(const Tensor& from, const Tensor& to) {
  visit_floating("add_into", to.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(to, Add{}, to, from); });
}

const bool registered = add_into_kernel.add(DeviceKind::cuda, add_into);

}  // namespace
}  // namespace weir::cuda
