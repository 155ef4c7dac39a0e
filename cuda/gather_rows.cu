#include "ops/gather_rows.h"

#include "cuda/checked_index.h"
#include "cuda/row_gather.cuh"

namespace weir::cuda {
namespace {

void gather_rows(const Tensor& x, const Tensor& index, const Tensor& y) {
  const Tensor rows = checked_index("gather_rows", "index", index, x.size(0));
  visit_floating("gather_rows", x.dtype(), [&]<class T>(Type<T>) { gather_rows_to<T, T>(y, x, rows); });
}

const bool registered = gather_rows_kernel.add(DeviceKind::cuda, gather_rows);

}  // namespace
}  // namespace weir::cuda
