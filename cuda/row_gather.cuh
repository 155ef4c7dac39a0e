// to[r] = from[index[r]]: rows of a matrix, 16 bytes a thread.
#pragma once

#include "cuda/row_values.cuh"

namespace weir::cuda {

// A row whose index is not below from.rows becomes zeros.
template <class T, class P>
__global__ void gather_rows_by_index(Rows<P> from, const std::int32_t* index, Rows<T> to, bool vectors) {
  constexpr int n = kRowValues<T, P>;
  for (std::int64_t r = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y; r < to.rows;
       r += std::int64_t{gridDim.x} * blockDim.y) {
    const std::int64_t source = index[r];
    for (std::int64_t col = threadIdx.x * n; col < to.cols; col += blockDim.x * n) {
      Pack<P, n> values{};
      if (source < from.rows) values = load_values<n>(from.row(source), col, to.cols, vectors);
      store_values(to.row(r), col, to.cols, vectors, values);
    }
  }
}

// index: what checked_index() makes of it.
template <class T, class P>
void gather_rows_to(const Tensor& to, const Tensor& from, const Tensor& index) {
  if (to.numel() == 0) return;
  constexpr int n = kRowValues<T, P>;
  const Tensor source = rows_form(from);
  const auto in = rows_of<P>(source);
  const auto out = rows_of<T>(to);
  launch<gather_rows_by_index<T, P>>(row_blocks(out.rows, out.cols, n), stream_of(to.device()), in,
                                     index.data<std::int32_t>(), out,
                                     rows_hold_packs_of<n>(in) && rows_hold_packs_of<n>(out));
}

}  // namespace weir::cuda
