// A warp searches a row: the best elements of both halves, sorted; then, of the pairs of these that can win at all, the
// best. In sorted halves the sum of the i-th and the j-th (from 0) is no larger than (i + 1)(j + 1) - 1 others, so only
// pairs with (i + 1)(j + 1) <= k are made: 119 instead of 1024 for k = 32.
#include "ops/product_key_search.h"

#include <algorithm>

#include "cuda/row_scatter.cuh"
#include "cuda/warp_top_k.cuh"
#include "ops/cpu/kth_largest.h"

namespace weir::cuda {
namespace {

// Entries of each list of candidates. The halves' lists hold what is collected, then what is sorted.
struct ListSizes {
  int collected, left, right, pairs;
};

ListSizes list_sizes(std::int64_t i_count, std::int64_t j_count, std::int64_t k) {
  const std::int64_t left = std::min(k, i_count), right = std::min(k, j_count);
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < left; ++i) pairs += std::min(right, k / (i + 1));
  return {static_cast<int>(std::max(left, right)), static_cast<int>(left), static_cast<int>(right),
          static_cast<int>(pairs)};
}

// The best of a row of n in order; `unsorted` is room for as many.
template <class Value, class T>
__device__ void sort_best(const T* row, std::int64_t n, int count, Candidate<cpu::OrderKey<Value>>* unsorted,
                          Candidate<cpu::OrderKey<Value>>* sorted) {
  using Key = cpu::OrderKey<Value>;
  const auto key_at = [&](int i) { return cpu::order_key(static_cast<Value>(row[i])); };
  warp_collect<Key>(static_cast<int>(n), count, key_at, unsorted);
  warp_rank(unsorted, count, count, [&](int rank, const Candidate<Key>& candidate) { sorted[rank] = candidate; });
}

template <class T>
__global__ void search_rows(Rows<T> a, Rows<T> b, Rows<T> scores, Rows<std::int32_t> indices, ListSizes sizes,
                            WarpScratch scratch) {
  using Value = accumulate_t<T>;
  using Key = cpu::OrderKey<Value>;
  auto* const left = reinterpret_cast<Candidate<Key>*>(scratch.of_this_warp());
  Candidate<Key>*const right = left + sizes.left, *const pairs = right + sizes.right;
  const int k = static_cast<int>(scores.cols), warp = static_cast<int>(threadIdx.x) / kWarp;
  const auto J = static_cast<std::int32_t>(b.cols);
  for (std::int64_t r = std::int64_t{blockIdx.x} * scratch.warps + warp; r < scores.rows;
       r += std::int64_t{gridDim.x} * scratch.warps) {
    const T *const p = a.row(r), *const q = b.row(r);
    sort_best<Value>(p, a.cols, sizes.left, pairs, left);
    sort_best<Value>(q, b.cols, sizes.right, pairs, right);
    int first = 0;  // pair of this i
    for (int i = 0; i < sizes.left; ++i) {
      const int reach = min(sizes.right, k / (i + 1));
      const auto score = static_cast<Value>(p[left[i].id]);
      for (int j = warp_lane(); j < reach; j += kWarp)
        pairs[first + j] = {cpu::order_key(score + static_cast<Value>(q[right[j].id])), left[i].id * J + right[j].id};
      first += reach;
    }
    __syncwarp();
    const Key threshold = warp_kth_largest<Key>(first, k, [&](int i) { return pairs[i].key; });
    const int kept = warp_keep(pairs, first, threshold);
    warp_rank(pairs, kept, k, [&](int rank, const Candidate<Key>& chosen) {
      indices.row(r)[rank] = chosen.id;
      scores.row(r)[rank] = T(static_cast<Value>(p[chosen.id / J]) + static_cast<Value>(q[chosen.id % J]));
    });
  }
}

void product_key_search(const Tensor& a, const Tensor& b, const Tensor& scores, const Tensor& indices) {
  if (scores.numel() == 0) return;
  const Tensor left = rows_form(a), right = rows_form(b);
  visit_floating("product_key_search", a.dtype(), [&]<class T>(Type<T>) {
    const auto p = rows_of<T>(left), q = rows_of<T>(right), out = rows_of<T>(scores);
    const ListSizes sizes = list_sizes(p.cols, q.cols, out.cols);
    const std::int64_t entries = std::int64_t{sizes.left} + sizes.right + std::max(sizes.pairs, sizes.collected);
    const WarpLaunch warps = warp_launch(
        a.device(), out.rows, entries * static_cast<std::int64_t>(sizeof(Candidate<cpu::OrderKey<accumulate_t<T>>>)));
    launch<search_rows<T>>(warps.shape, stream_of(a.device()), p, q, out, rows_of<std::int32_t>(indices), sizes,
                           warps.scratch);
  });
}

struct LeftOf {
  std::int32_t J;
  __device__ std::int64_t operator()(std::int32_t pair) const { return pair / J; }
};
struct RightOf {
  std::int32_t J;
  __device__ std::int64_t operator()(std::int32_t pair) const { return pair % J; }
};

void product_key_search_backward(const Tensor& dscores, const Tensor& indices, const Tensor& da, const Tensor& db) {
  const auto J = static_cast<std::int32_t>(db.size(-1));
  visit_floating("product_key_search", da.dtype(), [&]<class T>(Type<T>) {
    scatter_in_rows<T, std::int32_t>(dscores, indices, da, LeftOf{J});
    scatter_in_rows<T, std::int32_t>(dscores, indices, db, RightOf{J});
  });
}

const bool registered = product_key_search_kernel.add(DeviceKind::cuda, product_key_search) &&
                        product_key_search_backward_kernel.add(DeviceKind::cuda, product_key_search_backward);

}  // namespace
}  // namespace weir::cuda
