// What the kernels of relative attention have in common: where the operands lie, and the gradients that sum over
// batches.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/attention_heads.cuh"
#include "cuda/reduce.cuh"
#include "cuda/runtime.h"
#include "ops/relative_attention.h"

namespace weir::cuda::attention {

// Query i of a batch stands at position i + memory() and sees the keys up to there.
template <class T>
struct Problem {
  using Sum = accumulate_t<T>;

  int batches, queries, keys, heads, width;
  const Sum* scale;
  HeadMatrices<const T> q, k, value, r;
  const Sum *u, *v;  // [H, P]
  std::int64_t u_step, v_step;

  __host__ __device__ int memory() const { return keys - queries; }
  __device__ Sum logit_scale() const { return *scale; }
};

// The problem, and the tensors that its pointers point into. `tiles`: for tensor cores.
template <class T>
struct HostProblem {
  using Sum = accumulate_t<T>;

  HostProblem(const RelativeAttentionInputs& in, bool tiles)
      : q(with_unit_rows(in.q)),
        kv(tiles ? with_vector_rows(in.kv) : with_unit_rows(in.kv)),
        r(tiles ? with_vector_rows(in.r) : with_unit_rows(in.r)),
        u(with_unit_rows(in.u)),
        v(with_unit_rows(in.v)),
        problem{static_cast<int>(q.size(0)),
                static_cast<int>(q.size(1)),
                static_cast<int>(kv.size(1)),
                static_cast<int>(q.size(2)),
                static_cast<int>(q.size(3)),
                in.scale.data<Sum>(),
                head_matrices<const T>(q),
                head_matrices<const T>(kv),
                head_matrices<const T>(kv, kv.strides()[3]),
                head_matrices<const T>(r),
                u.data<Sum>(),
                v.data<Sum>(),
                u.strides()[0],
                v.strides()[0]} {}

  Tensor q, kv, r, u, v;
  Problem<T> problem;
};

// --- backward -----------------------------------------------------------------------------------------------------

// A block owns one head of some consecutive batches and goes through their tiles in order, so every sum has one order
// and no two blocks add to one place. What sums over batches, it keeps in partial sums of its own: [S + 3, P], the rows
// of dr, then du, dv, and dscale in the last one's first element.
struct Owners {
  // Owners fill a large GPU about twice; by shape alone, so that the sums do not depend on the device.
  static constexpr int kWanted = 256;

  template <class T>
  explicit Owners(const Problem<T>& p) {
    const int groups_wanted = std::clamp(kWanted / p.heads, 1, p.batches);
    batches_each = (p.batches + groups_wanted - 1) / groups_wanted;
    groups = (p.batches + batches_each - 1) / batches_each;
    count = groups * p.heads;
  }

  int groups, batches_each, count;
};

template <class T>
std::int64_t partial_floats(const Problem<T>& p) {  // of one owner
  return (std::int64_t{p.keys} + 3) * p.width;
}

// What backward reads beside the inputs, and what it writes.
template <class T>
struct BackwardTensors {
  using Sum = accumulate_t<T>;

  HeadMatrices<const T> dout;
  HeadMatrices<Sum> logsumexp, means;  // a query's mean of dweight under its weights, which is out . dout
  HeadMatrices<T> dq, dk, dvalue;
  Sum* partial;  // [owners, S + 3, P]
};

template <class T>
struct PartialSums {
  using Sum = accumulate_t<T>;

  __device__ PartialSums(const Problem<T>& p, Sum* partial, int owner)
      : dr(partial + std::int64_t{owner} * (p.keys + 3) * p.width),
        du(dr + std::int64_t{p.keys} * p.width),
        dv(du + p.width),
        dscale(dv + p.width) {}

  Sum *dr, *du, *dv, *dscale;
};

// dr, du and dv from the partial sums, a thread per element; the groups of batches in order.
template <class T>
__global__ void reduce_partial_kernel(Problem<T> p, const accumulate_t<T>* partial, int groups, HeadMatrices<T> dr,
                                      accumulate_t<T>* du, std::int64_t du_step, accumulate_t<T>* dv,
                                      std::int64_t dv_step) {
  const std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x, rows = p.keys + 3;
  const int head = static_cast<int>(blockIdx.y);
  const std::int64_t row = item / p.width, e = item % p.width;
  if (row >= p.keys + 2) return;
  accumulate_t<T> sum = 0;
  for (int group = 0; group < groups; ++group)
    sum += partial[(std::int64_t{group} * p.heads + head) * rows * p.width + item];
  if (row < p.keys)
    dr.row(0, head, row)[e] = T(sum);
  else if (row == p.keys)
    du[head * du_step + e] = sum;
  else
    dv[head * dv_step + e] = sum;
}

// One warp: its lanes take the owners in turn.
template <class T>
__global__ void reduce_dscale_kernel(Problem<T> p, const accumulate_t<T>* partial, int owners,
                                     accumulate_t<T>* dscale) {
  const std::int64_t step = (std::int64_t{p.keys} + 3) * p.width;
  accumulate_t<T> sum = 0;
  for (int owner = static_cast<int>(threadIdx.x); owner < owners; owner += kWarp)
    sum += partial[(owner + 1) * step - p.width];
  sum = reduce_lanes<kWarp>(0xffffffffu, sum, Add{});
  if (threadIdx.x == 0) *dscale = sum;
}

}  // namespace weir::cuda::attention
