// What the plain forms of attention share: rows and pairs in shared memory, and the softmax of a tile's pairs. A tile
// is n queries by as many keys; n is as large as shared memory allows.
#pragma once

#include <cmath>

#include "cuda/attention_heads.cuh"

namespace weir::cuda::attention {

inline constexpr int kPlainThreads = 256;
inline constexpr int kPlainTile = 32;  // at most: a warp's lanes share a tile's row

// Rows of shared memory an odd number of elements apart: the elements of a column lie in different banks.
template <class Sum>
struct SharedRows {
  Sum* data;
  int pitch;

  __device__ Sum* row(int i) const { return data + i * pitch; }
};

// Hands out the block's dynamic shared memory.
template <class Sum>
struct SharedPieces {
  Sum* next;

  __device__ SharedRows<Sum> rows(int count, int width) {
    const int pitch = width | 1;
    Sum* const piece = next;
    next += count * pitch;
    return {piece, pitch};
  }
};

// The largest tile whose rows [width] and pairs fit into what every GPU from sm_80 on gives a block.
struct PlainTile {
  int size = kPlainTile;
  std::size_t bytes = 0;

  // A tile of n takes `rows` * n rows of `width` elements, `pairs` matrices [n, n], and `extra` elements.
  PlainTile(int rows, int pairs, int extra, int width, std::size_t element) {
    const auto needed = [&](int n) {
      return static_cast<std::size_t>(rows * n * (width | 1) + pairs * n * (n | 1) + extra) * element;
    };
    while (needed(size) > std::size_t{96} * 1024) size /= 2;
    bytes = needed(size);
  }
};

// to[i] = row first + i of a matrix of `limit` rows, zeros outside.
template <class T, class Sum>
__device__ void load_rows(const SharedRows<Sum>& to, int count, const T* matrix, std::int64_t step, int first,
                          int limit, int width) {
  for (int item = static_cast<int>(threadIdx.x); item < count * width; item += kPlainThreads) {
    const int i = item / width, e = item % width, row = first + i;
    to.row(i)[e] = row >= 0 && row < limit ? static_cast<Sum>(matrix[row * step + e]) : Sum(0);
  }
}

// The state of a query's softmax over the keys so far.
template <class Sum>
struct SoftmaxRow {
  Sum largest, total;  // of the logits, of exp(logit - largest)
};

// weights[i, j] turns from a score into exp(logit - largest); `factor`: by what the sums so far have to shrink. A warp
// per query, a lane per key.
template <class Problem, class Sum>
__device__ void soften(const Problem& p, const SharedRows<Sum>& weights, const SharedRows<Sum>& factor,
                       const SharedRows<Sum>& state, int first_query, int first_key, int n) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Sum scale = p.logit_scale();
  for (int i = static_cast<int>(threadIdx.x) / kWarp; i < n; i += kPlainThreads / kWarp) {
    auto& row = *reinterpret_cast<SoftmaxRow<Sum>*>(state.row(i));
    const SoftmaxRow<Sum> before = row;
    const bool visible = lane < n && first_key + lane <= first_query + i + p.memory();
    const Sum logit = visible ? weights.row(i)[lane] * scale : -INFINITY;
    const Sum largest =
        max(before.largest, reduce_lanes<kWarp>(0xffffffffu, logit, Larger{}));  // finite: everybody sees key 0
    const Sum weight = std::exp(logit - largest), shrink = std::exp(before.largest - largest);
    const Sum total = before.total * shrink + reduce_lanes<kWarp>(0xffffffffu, weight, Add{});
    if (lane < n) weights.row(i)[lane] = weight;
    if (lane == 0) {
      *factor.row(i) = shrink;
      row = {largest, total};
    }
  }
}

}  // namespace weir::cuda::attention
