#include "ops/where_finite.h"

#include <cmath>

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

struct WhereFinite {
  template <class Value>
  __device__ Value operator()(Value guard, Value x, Value y) const {
    return std::isfinite(guard) ? x : y;
  }
};

void where_finite(const Tensor& guard, const Tensor& x, const Tensor& y, const Tensor& out) {
  visit_floating("where_finite", out.dtype(),
                 [&]<class T>(Type<T>) { elementwise<T, T, T, T>(out, WhereFinite{}, guard, x, y); });
}

const bool registered = where_finite_kernel.add(DeviceKind::cuda, where_finite);

}  // namespace
}  // namespace weir::cuda
