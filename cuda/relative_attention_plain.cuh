// Relative attention for every element type and head size, one product at a time: what the tensor cores' form is
// judged by, and what serves where that one does not.
//
// A tile is some queries by as many keys. With n of each, its pairs (i, j) take 2n - 1 neighbouring rows of r: from row
// `band` = T - n - (first query) + (first key) on, pair (i, j) takes row j - i + n - 1. Everything a tile needs lies in
// shared memory; n is as large as that allows.
#pragma once

#include <cmath>

#include "cuda/attention_rows.cuh"
#include "cuda/relative_attention_problem.cuh"
#include "ops/support/attention.h"

namespace weir::cuda::attention {

// q + u and q + v of n queries, rounded to T as the products of a matrix unit take them.
template <class T, class Sum>
__device__ void load_queries(const Problem<T>& p, const SharedRows<Sum>& content, const SharedRows<Sum>& position,
                             int batch, int head, int first, int n) {
  const Sum *const u = p.u + head * p.u_step, *const v = p.v + head * p.v_step;
  for (int item = static_cast<int>(threadIdx.x); item < n * p.width; item += kPlainThreads) {
    const int i = item / p.width, e = item % p.width;
    const bool inside = first + i < p.queries;
    const Sum q = inside ? static_cast<Sum>(p.q.row(batch, head, first + i)[e]) : Sum(0);
    content.row(i)[e] = inside ? static_cast<Sum>(T(q + u[e])) : Sum(0);
    position.row(i)[e] = inside ? static_cast<Sum>(T(q + v[e])) : Sum(0);
  }
}

// What a pair's logit is made of, in shared memory.
template <class Sum>
struct PlainOperands {
  SharedRows<Sum> content, position, key, r;  // q + u, q + v [n, P], keys [n, P], rows of r [2n - 1, P]
  int n, width;

  __device__ Sum score(int i, int j) const {
    const Sum *const c = content.row(i), *const p = position.row(i), *const k = key.row(j),
                     *const pr = r.row(j - i + n - 1);
    Sum sum = 0;
    for (int e = 0; e < width; ++e) sum += c[e] * k[e] + p[e] * pr[e];
    return sum;
  }
};

// --- forward ------------------------------------------------------------------------------------------------------

// A block makes n queries of one head: grid (tiles of queries, heads, batches).
template <class T>
__global__ void plain_forward_kernel(Problem<T> p, int n, HeadMatrices<T> out,
                                     HeadMatrices<accumulate_t<T>> logsumexp) {
  using Sum = accumulate_t<T>;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x) * n, width = p.width;
  SharedPieces<Sum> pieces{dynamic_shared<Sum>()};
  const auto content = pieces.rows(n, width), position = pieces.rows(n, width), key = pieces.rows(n, width),
             value = pieces.rows(n, width), r = pieces.rows(2 * n, width), sums = pieces.rows(n, width),
             weights = pieces.rows(n, n), factor = pieces.rows(n, 1), state = pieces.rows(n, 3);
  const PlainOperands<Sum> operands{content, position, key, r, n, width};

  load_queries(p, content, position, batch, head, first, n);
  for (int item = static_cast<int>(threadIdx.x); item < n * width; item += kPlainThreads)
    sums.row(item / width)[item % width] = 0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kPlainThreads) {
    state.row(i)[0] = -INFINITY;
    state.row(i)[1] = 0;
  }
  const int visible = min(p.keys, first + n + p.memory());  // keys that the tile's last query sees
  for (int first_key = 0; first_key < visible; first_key += n) {
    __syncthreads();
    load_rows(key, n, p.k.row(batch, head, 0), p.k.row_step, first_key, p.keys, width);
    load_rows(value, n, p.value.row(batch, head, 0), p.value.row_step, first_key, p.keys, width);
    load_rows(r, 2 * n - 1, p.r.row(batch, head, 0), p.r.row_step, p.queries - n - first + first_key, p.keys, width);
    __syncthreads();
    for (int pair = static_cast<int>(threadIdx.x); pair < n * n; pair += kPlainThreads)
      weights.row(pair / n)[pair % n] = operands.score(pair / n, pair % n);
    __syncthreads();
    soften(p, weights, factor, state, first, first_key, n);
    __syncthreads();
    for (int item = static_cast<int>(threadIdx.x); item < n * width; item += kPlainThreads) {
      const int i = item / width, e = item % width;
      Sum sum = 0;
      for (int j = 0; j < n; ++j) sum += weights.row(i)[j] * value.row(j)[e];
      sums.row(i)[e] = sums.row(i)[e] * *factor.row(i) + sum;
    }
  }
  __syncthreads();
  const int rows = min(n, p.queries - first);
  for (int item = static_cast<int>(threadIdx.x); item < rows * width; item += kPlainThreads) {
    const int i = item / width, e = item % width;
    out.row(batch, head, first + i)[e] = T(sums.row(i)[e] / state.row(i)[1]);
  }
  for (int i = static_cast<int>(threadIdx.x); i < rows; i += kPlainThreads)
    *logsumexp.row(batch, head, first + i) = state.row(i)[0] + std::log(state.row(i)[1]);
}

template <class T>
void plain_forward(const Problem<T>& p, Device device, const HeadMatrices<T>& out,
                   const HeadMatrices<accumulate_t<T>>& logsumexp) {
  const PlainTile tile(7, 1, 4 * kPlainTile, p.width, sizeof(accumulate_t<T>));
  const dim3 grid(blocks_for(p.queries, tile.size), static_cast<unsigned>(p.heads), static_cast<unsigned>(p.batches));
  launch<plain_forward_kernel<T>>({grid, kPlainThreads, tile.bytes}, stream_of(device), p, tile.size, out, logsumexp);
}

// --- backward -----------------------------------------------------------------------------------------------------

// One owner's work on one head. Keys outside, queries inside: dk and dvalue of a tile's keys stay in shared memory, dq
// and dr are added to in the owner's scratch memory.
template <class T>
struct PlainBackward {
  using Sum = accumulate_t<T>;

  const Problem<T>& p;
  const BackwardTensors<T>& t;
  PartialSums<T> partial;
  Sum* dq_partial;
  int n, head;
  PlainOperands<Sum> operands;
  SharedRows<Sum> value, dout, dk, dvalue, dq_content, dq_position, weights, dscores;
  Sum dscale;  // this thread's share

  // f(i, e) for the elements of `rows` rows, shared out among the threads in the same way each time.
  template <class F>
  __device__ void for_elements(int rows, F f) const {
    for (int item = static_cast<int>(threadIdx.x); item < rows * p.width; item += kPlainThreads)
      f(item / p.width, item % p.width);
  }

  __device__ void load_keys(int batch, int first_key) const {
    load_rows(operands.key, n, p.k.row(batch, head, 0), p.k.row_step, first_key, p.keys, p.width);
    load_rows(value, n, p.value.row(batch, head, 0), p.value.row_step, first_key, p.keys, p.width);
    for_elements(n, [&](int j, int e) { dk.row(j)[e] = dvalue.row(j)[e] = 0; });
  }

  __device__ void load_tile(int batch, int first, int first_key) const {
    load_queries(p, operands.content, operands.position, batch, head, first, n);
    load_rows(dout, n, t.dout.row(batch, head, 0), t.dout.row_step, first, p.queries, p.width);
    load_rows(operands.r, 2 * n - 1, p.r.row(batch, head, 0), p.r.row_step, p.queries - n - first + first_key, p.keys,
              p.width);
  }

  // The softmax and the gradient of the raw scores; zeros where there is no pair.
  __device__ void make_pairs(int batch, int first, int first_key) {
    const Sum scale = *p.scale;
    for (int pair = static_cast<int>(threadIdx.x); pair < n * n; pair += kPlainThreads) {
      const int i = pair / n, j = pair % n, query = first + i;
      Sum weight = 0, dlogit = 0;
      if (query < p.queries && first_key + j <= query + p.memory()) {
        const Sum score = operands.score(i, j);
        Sum dweight = 0;
        for (int e = 0; e < p.width; ++e) dweight += dout.row(i)[e] * value.row(j)[e];
        weight = std::exp(score * scale - *t.logsumexp.row(batch, head, query));
        dlogit = weight * (dweight - *t.means.row(batch, head, query));
        dscale += dlogit * score;
      }
      weights.row(i)[j] = static_cast<Sum>(T(weight));
      dscores.row(i)[j] = static_cast<Sum>(T(dlogit * scale));
    }
  }

  __device__ void add_key_gradients() const {
    for_elements(n, [&](int j, int e) {
      Sum key = 0, val = 0;
      for (int i = 0; i < n; ++i) {
        key += dscores.row(i)[j] * operands.content.row(i)[e];
        val += weights.row(i)[j] * dout.row(i)[e];
      }
      dk.row(j)[e] += key;
      dvalue.row(j)[e] += val;
    });
  }

  // dq is complete with the last tile of keys that its queries see.
  __device__ void add_query_gradients(int batch, int first, int first_key) const {
    const bool last = first_key + n >= min(p.keys, first + n + p.memory());
    for_elements(min(n, p.queries - first), [&](int i, int e) {
      Sum content = 0, position = 0;
      for (int j = 0; j < n; ++j) {
        content += dscores.row(i)[j] * operands.key.row(j)[e];
        position += dscores.row(i)[j] * operands.r.row(j - i + n - 1)[e];
      }
      dq_content.row(i)[e] += content;
      dq_position.row(i)[e] += position;
      Sum& sum = dq_partial[std::int64_t{first + i} * p.width + e];
      const Sum dq = first_key == 0 ? content + position : sum + content + position;
      if (last)
        t.dq.row(batch, head, first + i)[e] = T(dq);
      else
        sum = dq;
    });
  }

  __device__ void add_position_gradients(int first, int first_key) const {
    const int band = p.queries - n - first + first_key;
    for_elements(2 * n - 1, [&](int c, int e) {
      if (band + c < 0 || band + c >= p.keys) return;
      Sum sum = 0;
      for (int i = max(0, n - 1 - c); i < min(n, 2 * n - 1 - c); ++i)
        sum += dscores.row(i)[c + i - n + 1] * operands.position.row(i)[e];
      partial.dr[std::int64_t{band + c} * p.width + e] += sum;
    });
  }

  __device__ void store_key_gradients(int batch, int first_key) const {
    for_elements(min(n, p.keys - first_key), [&](int j, int e) {
      t.dk.row(batch, head, first_key + j)[e] = T(dk.row(j)[e]);
      t.dvalue.row(batch, head, first_key + j)[e] = T(dvalue.row(j)[e]);
    });
  }

  __device__ void run_batch(int batch) {
    for (int first_key = 0; first_key < p.keys; first_key += n) {
      __syncthreads();
      load_keys(batch, first_key);
      for (int first = max(0, first_key - p.memory()) / n * n; first < p.queries; first += n) {
        load_tile(batch, first, first_key);
        __syncthreads();
        make_pairs(batch, first, first_key);
        __syncthreads();
        add_key_gradients();
        add_query_gradients(batch, first, first_key);
        add_position_gradients(first, first_key);
        __syncthreads();
      }
      store_key_gradients(batch, first_key);
    }
  }

  __device__ void clear() const {
    for_elements(p.keys, [&](int i, int e) { partial.dr[std::int64_t{i} * p.width + e] = 0; });
    for_elements(n, [&](int i, int e) { dq_content.row(i)[e] = dq_position.row(i)[e] = 0; });
  }

  __device__ void store_sums(Sum* shares) const {
    for (int e = static_cast<int>(threadIdx.x); e < p.width; e += kPlainThreads) {
      Sum content = 0, position = 0;
      for (int i = 0; i < n; ++i) {
        content += dq_content.row(i)[e];
        position += dq_position.row(i)[e];
      }
      partial.du[e] = content;
      partial.dv[e] = position;
    }
    shares[threadIdx.x] = dscale;
    __syncthreads();
    if (threadIdx.x != 0) return;
    Sum total = 0;
    for (int i = 0; i < kPlainThreads; ++i) total += shares[i];
    *partial.dscale = total;
  }
};

// Grid (heads, groups of batches).
template <class T>
__global__ void plain_backward_kernel(Problem<T> p, BackwardTensors<T> t, accumulate_t<T>* dq_partial, int n,
                                      int batches_each) {
  using Sum = accumulate_t<T>;
  const int head = static_cast<int>(blockIdx.x), group = static_cast<int>(blockIdx.y), width = p.width;
  const int owner = group * p.heads + head;
  SharedPieces<Sum> pieces{dynamic_shared<Sum>()};
  const auto rows = [&] { return pieces.rows(n, width); };
  const PlainOperands<Sum> operands{rows(), rows(), rows(), pieces.rows(2 * n, width), n, width};
  PlainBackward<T> work{p,
                        t,
                        PartialSums<T>(p, t.partial, owner),
                        dq_partial + std::int64_t{owner} * p.queries * width,
                        n,
                        head,
                        operands,
                        rows(),
                        rows(),
                        rows(),
                        rows(),
                        rows(),
                        rows(),
                        pieces.rows(n, n),
                        pieces.rows(n, n),
                        Sum(0)};
  work.clear();
  const int begin = group * batches_each;
  for (int batch = begin; batch < min(p.batches, begin + batches_each); ++batch) work.run_batch(batch);
  work.store_sums(pieces.next);
}

template <class T>
void plain_backward(const Problem<T>& p, Device device, const Owners& owners, const BackwardTensors<T>& t) {
  using Sum = accumulate_t<T>;
  const Tensor dq_partial =
      Tensor::empty(Shape{std::int64_t{owners.count} * p.queries * p.width}, dtype_of<Sum>(), device);
  const PlainTile tile(11, 2, kPlainThreads, p.width, sizeof(accumulate_t<T>));
  const dim3 grid(static_cast<unsigned>(p.heads), static_cast<unsigned>(owners.groups));
  launch<plain_backward_kernel<T>>({grid, kPlainThreads, tile.bytes}, stream_of(device), p, t, dq_partial.data<Sum>(),
                                   tile.size, owners.batches_each);
}

}  // namespace weir::cuda::attention
