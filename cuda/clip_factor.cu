#include "ops/clip_factor.h"

#include <cmath>
#include <limits>

#include "cuda/elementwise.cuh"

namespace weir::cuda {
namespace {

template <class Value>
struct ClipFactor {
  Value limit;
  __device__ Value operator()(Value norm) const {
    if (!(std::fabs(norm) <= std::numeric_limits<Value>::max())) return std::numeric_limits<Value>::quiet_NaN();
    const Value factor = limit / (norm + Value(1e-6));
    return limit > 0 && factor < 1 ? factor : Value(1);
  }
};

void clip_factor(const Tensor& norm, double clip, const Tensor& factor) {
  visit_floating("clip_factor", norm.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    elementwise<T, T>(factor, ClipFactor<Value>{static_cast<Value>(clip)}, norm);
  });
}

const bool registered = clip_factor_kernel.add(DeviceKind::cuda, clip_factor);

}  // namespace
}  // namespace weir::cuda
