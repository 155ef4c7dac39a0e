#include "ops/scatter_add_rows.h"

#include "cuda/checked_index.h"
#include "cuda/segment_sum.cuh"

namespace weir::cuda {
namespace {

void scatter_add_rows(const Tensor& x, const Tensor& index, const Tensor& y) {
  if (y.numel() == 0) return;
  const Tensor keys = checked_index("scatter_add_rows", "index", index, y.size(0)), rows = rows_form(x);
  visit_floating("scatter_add_rows", x.dtype(), [&]<class T>(Type<T>) {
    segment_sum<T, T>(keys, {.rows = y.size(0), .x = rows_of<T>(rows), .y = rows_of<T>(y)});
  });
}

const bool registered = scatter_add_rows_kernel.add(DeviceKind::cuda, scatter_add_rows);

}  // namespace
}  // namespace weir::cuda
