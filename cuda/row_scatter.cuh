// y[r, e] = sum of d[r, k] over the k whose index[r, k] says e, in the order of k; elements nobody names are zero. A
// warp takes a row; the first to name an element adds up for all of its followers, so a row costs K^2 / 32 comparisons
// a lane whatever the width of y.
#pragma once

#include "core/dtype.h"
#include "core/tensor.h"
#include "cuda/runtime.h"

namespace weir::cuda {

inline constexpr int kScatterWarps = 4;

// `place(index)` is the element that an index says. Places outside y are left out.
template <class T, class Index, class Place>
__global__ void scatter_in_rows_kernel(Rows<T> d, Rows<Index> index, Rows<T> y, Place place) {
  using Sum = accumulate_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  for (std::int64_t r = std::int64_t{blockIdx.x} * kScatterWarps + warp; r < y.rows;
       r += std::int64_t{gridDim.x} * kScatterWarps) {
    const T* const given = d.row(r);
    const Index* const chosen = index.row(r);
    T* const to = y.row(r);
    for (std::int64_t c = lane; c < y.cols; c += kWarp) to[c] = T{};
    __syncwarp();
    for (std::int64_t k = lane; k < d.cols; k += kWarp) {
      const std::int64_t e = place(chosen[k]);
      bool first = e >= 0 && e < y.cols;
      for (std::int64_t before = 0; before < k && first; ++before) first = place(chosen[before]) != e;
      if (!first) continue;
      auto sum = static_cast<Sum>(given[k]);
      for (std::int64_t later = k + 1; later < d.cols; ++later)
        if (place(chosen[later]) == e) sum += static_cast<Sum>(given[later]);
      to[e] = T(sum);
    }
  }
}

struct Itself {
  template <class Index>
  __device__ std::int64_t operator()(Index index) const {
    return index;
  }
};

template <class T, class Index, class Place = Itself>
void scatter_in_rows(const Tensor& d, const Tensor& index, const Tensor& y, Place place = {}) {
  if (y.numel() == 0) return;
  const Tensor given = rows_form(d), chosen = rows_form(index);
  const auto out = rows_of<T>(y);
  launch<scatter_in_rows_kernel<T, Index, Place>>({blocks_for(out.rows, kScatterWarps), kScatterWarps * kWarp},
                                                  stream_of(y.device()), rows_of<T>(given), rows_of<Index>(chosen), out,
                                                  place);
}

}  // namespace weir::cuda
