#include "autograd/accumulate.h"
#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct Sum {
  template <class Value>
  __device__ Value operator()(Value to, Value from) const {
    return to + from;
  }
};

void add_into(const Tensor& from, const Tensor& to) {
  visit_floating("add_into", to.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(to, Sum{}, to, from); });
}

const bool registered = add_into_kernel.add(DeviceKind::cuda, add_into);

}  // namespace
}  // namespace weir::cuda
