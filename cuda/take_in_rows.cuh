// y[r, k] = x[r, index[r, k]], an element a thread.
#pragma once

#include "core/tensor.h"
#include "cuda/index_check.cuh"
#include "cuda/runtime.h"

namespace weir::cuda {

inline constexpr int kTakeThreads = 256;

// An index out of range takes zero.
template <class T, class Index>
__global__ void take_in_rows_kernel(Rows<T> x, Rows<Index> index, Rows<T> y, IndexBounds bounds) {
  const std::int64_t count = y.rows * y.cols;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kTakeThreads + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * kTakeThreads) {
    const std::int64_t r = i / y.cols, k = i % y.cols;
    const auto place = static_cast<std::int64_t>(index.row(r)[k]);
    y.row(r)[k] = index_in_range(bounds, place, i) ? x.row(r)[place] : T{};
  }
}

template <class T, class Index>
void take_in_rows(const char* op, const Tensor& x, const Tensor& index, const Tensor& y) {
  if (y.numel() == 0) return;
  const Tensor from = rows_form(x), chosen = rows_form(index);
  launch<take_in_rows_kernel<T, Index>>({blocks_for(y.numel(), kTakeThreads), kTakeThreads}, stream_of(y.device()),
                                        rows_of<T>(from), rows_of<Index>(chosen), rows_of<T>(y),
                                        index_bounds(y.device(), op, "index", x.size(-1)));
}

}  // namespace weir::cuda
