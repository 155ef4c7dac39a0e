// What attentions on the GPU share: where their heads lie.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "cuda/reduce.cuh"
#include "cuda/runtime.h"
#include "ops/support/attention.h"

namespace weir::cuda::attention {

inline void check_width(const char* op, std::int64_t width) {
  if (width > kGpuHeadSize)
    throw ArgumentError(std::string(op) + ": heads of " + std::to_string(width) +
                        " elements; on a GPU a head may have up to " + std::to_string(kGpuHeadSize) +
                        ". More heads of fewer elements would do");
}

// One matrix [rows x P] per batch and head inside a tensor; the elements of a row are neighbours.
template <class T>
struct HeadMatrices {
  T* data;
  std::int64_t batch_step, head_step, row_step;

  __device__ T* row(int batch, int head, std::int64_t i) const {
    return data + batch * batch_step + head * head_step + i * row_step;
  }
};

// `t` itself where its rows have unit stride, else a copy.
inline Tensor with_unit_rows(const Tensor& t) {
  return t.numel() == 0 || t.size(-1) == 1 || t.strides()[-1] == 1 ? t : clone(t);
}

// `t` itself where besides its rows begin at multiples of 16 bytes, for tensor cores' tiles, else a copy: one pass over
// memory, where the tiles would be loaded element by element many times.
inline Tensor with_vector_rows(const Tensor& t) {
  if (t.numel() == 0) return t;
  const auto elements = static_cast<std::int64_t>(16 / dtype_size(t.dtype()));
  bool vectors = reinterpret_cast<std::uintptr_t>(t.raw()) % 16 == 0 && (t.size(-1) == 1 || t.strides()[-1] == 1);
  for (int axis = 0; axis + 1 < t.rank(); ++axis)
    vectors = vectors && (t.size(axis) == 1 || t.strides()[axis] % elements == 0);
  return vectors ? t : clone(t);
}

// Of axes (batch, row, head, ..., element), or (row, head, element) where every batch has the same matrix.
template <class T>
HeadMatrices<T> head_matrices(const Tensor& t, std::int64_t offset = 0) {
  const int row = t.rank() == 3 ? 0 : 1;
  const Strides& strides = t.strides();
  return {t.data<std::remove_const_t<T>>() + offset, row == 0 ? 0 : strides[0], strides[row + 1], strides[row]};
}

// One number per query: row(b, h, i) points to it in a tensor [B, H, T].
template <class T>
HeadMatrices<T> per_query(const Tensor& t) {
  return {t.data<T>(), t.strides()[0], t.strides()[1], t.strides()[2]};
}

// means[b, h, i] = out_i . dout_i, the mean of a query's dweights under its weights; a warp per query.
template <class T>
__global__ void means_kernel(int queries, int width, HeadMatrices<const T> out, HeadMatrices<const T> dout,
                             HeadMatrices<accumulate_t<T>> means) {
  using Sum = accumulate_t<T>;
  const int lane = static_cast<int>(threadIdx.x), i = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  if (i >= queries) return;
  const T *const a = out.row(batch, head, i), *const b = dout.row(batch, head, i);
  Sum sum = 0;
  for (int e = lane; e < width; e += kWarp) sum += static_cast<Sum>(a[e]) * static_cast<Sum>(b[e]);
  sum = reduce_lanes<kWarp>(0xffffffffu, sum, Add{});
  if (lane == 0) *means.row(batch, head, i) = sum;
}

template <class T>
void make_means(Stream stream, const Tensor& out, const HeadMatrices<const T>& dout,
                const HeadMatrices<accumulate_t<T>>& means) {
  const auto queries = static_cast<int>(out.size(1)), width = static_cast<int>(out.size(3));
  const dim3 grid(blocks_for(queries, 4), static_cast<unsigned>(out.size(2)), static_cast<unsigned>(out.size(0)));
  launch<means_kernel<T>>({grid, dim3(kWarp, 4)}, stream, queries, width, head_matrices<const T>(out), dout, means);
}

}  // namespace weir::cuda::attention
