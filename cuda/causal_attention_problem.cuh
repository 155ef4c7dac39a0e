// What the kernels of causal attention have in common: where the operands lie, forward and backward.
#pragma once

#include "cuda/attention_heads.cuh"
#include "ops/causal_attention.h"

namespace weir::cuda::attention {

// Query i of a batch stands at position i + memory() and sees the keys up to there.
template <class T>
struct CausalProblem {
  int batches, queries, keys, heads, width;
  accumulate_t<T> scale;
  HeadMatrices<const T> q, k, v;

  __host__ __device__ int memory() const { return keys - queries; }
  __device__ accumulate_t<T> logit_scale() const { return scale; }
};

// The problem, and the tensors that its pointers point into. `tiles`: for tensor cores.
template <class T>
struct HostCausalProblem {
  HostCausalProblem(const CausalAttentionInputs& in, bool tiles)
      : q(tiles ? with_vector_rows(in.q) : with_unit_rows(in.q)),
        k(tiles ? with_vector_rows(in.k) : with_unit_rows(in.k)),
        v(tiles ? with_vector_rows(in.v) : with_unit_rows(in.v)),
        problem{static_cast<int>(q.size(0)), static_cast<int>(q.size(1)), static_cast<int>(k.size(1)),
                static_cast<int>(q.size(2)), static_cast<int>(q.size(3)), static_cast<accumulate_t<T>>(in.scale),
                head_matrices<const T>(q),   head_matrices<const T>(k),   head_matrices<const T>(v)} {}

  Tensor q, k, v;
  CausalProblem<T> problem;
};

// --- backward -----------------------------------------------------------------------------------------------------

// Backward makes every pair's score twice: for the gradient of the queries, and for those of keys and values. So each
// block adds up gradients of its own, in the order of its tiles, and no scratch memory is needed. Both are one kernel:
//
//                   rows          columns that a block goes through       sums
//   Of::queries     q and dout    k and v                                 dq = dscores k
//   Of::keys        k and v       q and dout                              dk = dscores^T q, dvalue = weights^T dout
//
// In both the scores are first rows times first columns, the gradients of the weights second rows times second columns.
enum class Of { queries, keys };

template <class T, Of of>
struct CausalBackward {
  using Sum = accumulate_t<T>;
  static constexpr bool kOfKeys = of == Of::keys;

  CausalProblem<T> p;
  HeadMatrices<const T> dout;
  HeadMatrices<Sum> logsumexp, means;  // a query's mean of dweight under its weights, which is out . dout
  HeadMatrices<T> dfirst, dsecond;     // dq and nothing, or dk and dvalue

  __device__ const HeadMatrices<const T>& first_rows() const { return kOfKeys ? p.k : p.q; }
  __device__ const HeadMatrices<const T>& second_rows() const { return kOfKeys ? p.v : dout; }
  __device__ const HeadMatrices<const T>& first_columns() const { return kOfKeys ? p.q : p.k; }
  __device__ const HeadMatrices<const T>& second_columns() const { return kOfKeys ? dout : p.v; }
  __host__ __device__ int rows() const { return kOfKeys ? p.keys : p.queries; }
  __device__ int columns() const { return kOfKeys ? p.queries : p.keys; }

  // The columns [begin, end) that make pairs with some of n rows from `first` on.
  __device__ int begin(int first) const { return kOfKeys ? max(0, first - p.memory()) : 0; }
  __device__ int end(int first, int n) const { return kOfKeys ? p.queries : min(p.keys, first + n + p.memory()); }

  __device__ bool is_pair(int row, int column) const {
    const int query = kOfKeys ? column : row, key = kOfKeys ? row : column;
    return query < p.queries && key <= query + p.memory();
  }
};

}  // namespace weir::cuda::attention
