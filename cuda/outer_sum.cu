#include "ops/outer_sum.h"

#include "cuda/reduce.cuh"
#include "cuda/row_values.cuh"
#include "ops/relu.h"

namespace weir::cuda {
namespace {

// 16 bytes of a row of y a thread.
template <class T>
__global__ void add_pairs(Rows<T> a, Rows<T> b, bool relu, Rows<T> y, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kRowValues<T>;
  for (std::int64_t r = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y; r < y.rows;
       r += std::int64_t{gridDim.x} * blockDim.y) {
    const T *const left = a.row(r), *const right = b.row(r);
    for (std::int64_t col = threadIdx.x * n; col < y.cols; col += blockDim.x * n) {
      std::int64_t i = col / b.cols, j = col - i * b.cols;
      Pack<Value, n> sums{};
#pragma unroll
      for (int e = 0; e < n; ++e) {
        if (col + e >= y.cols) continue;
        const Value sum = static_cast<Value>(left[i]) + static_cast<Value>(right[j]);
        sums.values[e] = relu ? Relu{}(sum) : sum;
        if (++j == b.cols) j = 0, ++i;
      }
      store_values(y.row(r), col, y.cols, vectors, sums);
    }
  }
}

void outer_sum(const Tensor& a, const Tensor& b, Activation activation, const Tensor& y) {
  if (y.numel() == 0) return;
  const Tensor left = rows_form(a), right = rows_form(b);
  visit_floating("outer_sum", a.dtype(), [&]<class T>(Type<T>) {
    constexpr int n = kRowValues<T>;
    const auto out = rows_of<T>(y);
    launch<add_pairs<T>>(row_blocks(out.rows, out.cols, n), stream_of(y.device()), rows_of<T>(left), rows_of<T>(right),
                         activation == Activation::relu, out, rows_hold_packs_of<n>(out));
  });
}

constexpr int kWarps = 4, kPerLane = 8, kSlice = kPerLane * kWarp;

// A block takes a row of dy [I J] and reads it once: warps walk over i, lanes over slices of 256 j. Sums over j are
// formed within a warp; sums over i by each lane, then over the warps. `partial` [rows, I] carries the former from
// slice to slice where there are several.
template <class T>
__global__ void sum_pairs(Rows<T> a, Rows<T> b, bool relu, Rows<T> dy, Rows<accumulate_t<T>> partial, Rows<T> da,
                          Rows<T> db) {
  using Value = accumulate_t<T>;
  struct Shared {
    Value columns[kWarps][kSlice];
  };
  auto& block = shared<Shared>();
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  for (std::int64_t r = blockIdx.x; r < dy.rows; r += gridDim.x) {
    for (std::int64_t begin = 0; begin < b.cols; begin += kSlice) {
      Value right[kPerLane], sums[kPerLane];
#pragma unroll
      for (int m = 0; m < kPerLane; ++m) {
        const std::int64_t j = begin + m * kWarp + lane;
        right[m] = j < b.cols ? static_cast<Value>(b.row(r)[j]) : Value(0);
        sums[m] = 0;
      }
      for (std::int64_t i = warp; i < a.cols; i += kWarps) {
        const auto left = static_cast<Value>(a.row(r)[i]);
        const T* const given = dy.row(r) + i * b.cols;
        Value total = 0;
#pragma unroll
        for (int m = 0; m < kPerLane; ++m) {
          const std::int64_t j = begin + m * kWarp + lane;
          const bool passes = j < b.cols && (!relu || left + right[m] > 0);
          const Value d = passes ? static_cast<Value>(given[j]) : Value(0);
          sums[m] += d;
          total += d;
        }
        total = reduce_lanes<kWarp>(0xffffffffu, total, Add{});
        if (lane != 0) continue;
        if (begin > 0) total += partial.row(r)[i];
        if (begin + kSlice < b.cols)
          partial.row(r)[i] = total;
        else
          da.row(r)[i] = T(total);
      }
#pragma unroll
      for (int m = 0; m < kPerLane; ++m) block.columns[warp][m * kWarp + lane] = sums[m];
      __syncthreads();
      for (int j = static_cast<int>(threadIdx.x); j < kSlice && begin + j < b.cols; j += kWarps * kWarp) {
        Value total = 0;
        for (int w = 0; w < kWarps; ++w) total += block.columns[w][j];
        db.row(r)[begin + j] = T(total);
      }
      __syncthreads();
    }
  }
}

void outer_sum_backward(const Tensor& a, const Tensor& b, Activation activation, const Tensor& dy, const Tensor& da,
                        const Tensor& db) {
  if (dy.numel() == 0) {
    fill(da, 0);
    fill(db, 0);
    return;
  }
  const Tensor left = rows_form(a), right = rows_form(b), given = rows_form(dy);
  visit_floating("outer_sum", a.dtype(), [&]<class T>(Type<T>) {
    const auto p = rows_of<T>(left), q = rows_of<T>(right);
    const Shape carried{q.cols > kSlice ? p.rows : 0, p.cols};
    const Tensor partial = Tensor::empty(carried, dtype_of<accumulate_t<T>>(), a.device());
    launch<sum_pairs<T>>({blocks_for(p.rows, 1), kWarps * kWarp}, stream_of(a.device()), p, q,
                         activation == Activation::relu, rows_of<T>(given), rows_of<accumulate_t<T>>(partial),
                         rows_of<T>(da), rows_of<T>(db));
  });
}

const bool registered = outer_sum_kernel.add(DeviceKind::cuda, outer_sum) &&
                        outer_sum_backward_kernel.add(DeviceKind::cuda, outer_sum_backward);

}  // namespace
}  // namespace weir::cuda
