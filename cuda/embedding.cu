#include "ops/embedding.h"

#include "cuda/checked_index.h"
#include "cuda/row_gather.cuh"
#include "cuda/segment_sum.cuh"
#include "ops/support/parameters.h"

namespace weir::cuda {
namespace {

void embedding(const Tensor& weight, const Tensor& ids, const Tensor& y) {
  const Tensor rows = checked_index("embedding", "ids", ids, weight.size(0));
  visit_with_parameters("embedding", y.dtype(), weight.dtype(),
                        [&]<class T, class P>(Type<T>, Type<P>) { gather_rows_to<T, P>(y, weight, rows); });
}

void embedding_backward(const Tensor& ids, const Tensor& dy, const Tensor& dweight) {
  if (dweight.numel() == 0) return;
  const Tensor keys = checked_index("embedding", "ids", ids, dweight.size(0)), rows = rows_form(dy);
  visit_with_parameters("embedding", dy.dtype(), dweight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    segment_sum<T, P>(keys, {.rows = dweight.size(0), .x = rows_of<T>(rows), .y = rows_of<P>(dweight)});
  });
}

const bool registered = embedding_kernel.add(DeviceKind::cuda, embedding) &&
                        embedding_backward_kernel.add(DeviceKind::cuda, embedding_backward);

}  // namespace
}  // namespace weir::cuda
