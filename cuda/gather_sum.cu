#include "ops/gather_sum.h"

#include "cuda/checked_index.h"
#include "cuda/segment_sum.cuh"
#include "ops/support/parameters.h"

namespace weir::cuda {
namespace {

// y[r] = sum over k of weight[r, k] values[index[r, k]], 16 bytes of a row a thread; `index` is packed [rows, K], and
// values from values.rows on are left out.
template <class T, class P>
__global__ void sum_gathered(Rows<T> weight, const std::int32_t* index, Rows<P> values, Rows<T> y, bool vectors) {
  using Sum = accumulate_t<T>;
  constexpr int n = kRowValues<T, P>, kAhead = 8;  // rows asked for at once
  const std::int64_t K = weight.cols;
  for (std::int64_t r = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y; r < y.rows;
       r += std::int64_t{gridDim.x} * blockDim.y) {
    const T* const weights = weight.row(r);
    const std::int32_t* const chosen = index + r * K;
    for (std::int64_t col = threadIdx.x * n; col < y.cols; col += blockDim.x * n) {
      Pack<Sum, n> sums{};
      for (std::int64_t begin = 0; begin < K; begin += kAhead) {
        Pack<P, n> ahead[kAhead];
#pragma unroll
        for (int a = 0; a < kAhead; ++a) {
          const std::int64_t row = begin + a < K ? chosen[begin + a] : values.rows;
          if (row < values.rows)
            ahead[a] = load_values<n>(values.row(row), col, values.cols, vectors);
          else
            ahead[a] = {};
        }
#pragma unroll
        for (int a = 0; a < kAhead; ++a) {
          const Sum w = begin + a < K ? static_cast<Sum>(weights[begin + a]) : Sum(0);
#pragma unroll
          for (int i = 0; i < n; ++i) sums.values[i] += w * static_cast<Sum>(ahead[a].values[i]);
        }
      }
      store_values(y.row(r), col, y.cols, vectors, sums);
    }
  }
}

void gather_sum(const Tensor& weight, const Tensor& index, const Tensor& values, const Tensor& y) {
  const Tensor chosen = checked_index("gather_sum", "index", index, values.size(0));
  if (y.numel() == 0) return;
  const Tensor weights = rows_form(weight), table = rows_form(values);
  visit_with_parameters("gather_sum", weight.dtype(), values.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    constexpr int n = kRowValues<T, P>;
    const auto from = rows_of<P>(table);
    const auto to = rows_of<T>(y);
    launch<sum_gathered<T, P>>(row_blocks(to.rows, to.cols, n), stream_of(y.device()), rows_of<T>(weights),
                               chosen.data<std::int32_t>(), from, to,
                               rows_hold_packs_of<n>(from) && rows_hold_packs_of<n>(to));
  });
}

// Both gradients come from one walk over dy: row v of values is loaded once for all the slots that name it.
void gather_sum_backward(const Tensor& weight, const Tensor& index, const Tensor& values, const Tensor& dy,
                         const GatherSumGradients& wanted) {
  const bool wants_weight = wanted.dweight.defined(), wants_values = wanted.dvalues.defined();
  if (values.numel() == 0 || weight.numel() == 0) {
    if (wants_weight) fill(wanted.dweight, 0);
    if (wants_values && !wanted.accumulate) fill(wanted.dvalues, 0);
    return;
  }
  const Tensor keys = checked_index("gather_sum", "index", index, values.size(0));
  const Tensor weights = rows_form(weight), table = rows_form(values), given = rows_form(dy);
  visit_with_parameters("gather_sum", weight.dtype(), values.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    SegmentSum<T, P> sums{};
    sums.rows = values.size(0);
    sums.x = rows_of<T>(given);
    sums.slots_per_row = weight.size(-1);
    sums.weight = rows_of<T>(weights);
    if (wants_weight) sums.dot = rows_of<T>(wanted.dweight), sums.values = rows_of<P>(table);
    if (wants_values) sums.y = rows_of<P>(wanted.dvalues);
    sums.accumulate = wanted.accumulate;
    segment_sum<T, P>(keys, sums);
  });
}

const bool registered = gather_sum_kernel.add(DeviceKind::cuda, gather_sum) &&
                        gather_sum_backward_kernel.add(DeviceKind::cuda, gather_sum_backward);

}  // namespace
}  // namespace weir::cuda
