#include "ops/take_along.h"

#include "cuda/row_scatter.cuh"
#include "cuda/take_in_rows.cuh"

namespace weir::cuda {
namespace {

void take_along(const Tensor& x, const Tensor& index, const Tensor& y) {
  visit_floating("take_along", x.dtype(), [&]<class T>(Type<T>) {
    visit_index("take_along", index.dtype(),
                [&]<class Index>(Type<Index>) { take_in_rows<T, Index>("take_along", x, index, y); });
  });
}

void take_along_backward(const Tensor& index, const Tensor& dy, const Tensor& dx) {
  visit_floating("take_along", dy.dtype(), [&]<class T>(Type<T>) {
    visit_index("take_along", index.dtype(),
                [&]<class Index>(Type<Index>) { scatter_in_rows<T, Index>(dy, index, dx); });
  });
}

const bool registered = take_along_kernel.add(DeviceKind::cuda, take_along) &&
                        take_along_backward_kernel.add(DeviceKind::cuda, take_along_backward);

}  // namespace
}  // namespace weir::cuda
