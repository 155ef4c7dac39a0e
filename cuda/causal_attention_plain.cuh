// Causal attention for every element type and head size, one product at a time: what the tensor cores' form is judged
// by, and what serves where that one does not.
#pragma once

#include "cuda/attention_rows.cuh"
#include "cuda/causal_attention_problem.cuh"

namespace weir::cuda::attention {

template <class Sum>
__device__ Sum dot(const Sum* a, const Sum* b, int width) {
  Sum sum = 0;
  for (int e = 0; e < width; ++e) sum += a[e] * b[e];
  return sum;
}

// f(i, e) for the elements of `rows` rows, shared out among the threads in the same way each time.
template <class F>
__device__ void for_elements(int rows, int width, const F& f) {
  for (int item = static_cast<int>(threadIdx.x); item < rows * width; item += kPlainThreads)
    f(item / width, item % width);
}

template <class T>
__device__ void load_rows(const SharedRows<accumulate_t<T>>& to, int n, const HeadMatrices<const T>& from, int batch,
                          int head, int first, int limit, int width) {
  load_rows(to, n, from.row(batch, head, 0), from.row_step, first, limit, width);
}

// A block makes n queries of one head: grid (tiles of queries, heads, batches).
template <class T>
__global__ void plain_causal_kernel(CausalProblem<T> p, int n, HeadMatrices<T> out,
                                    HeadMatrices<accumulate_t<T>> logsumexp) {
  using Sum = accumulate_t<T>;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x) * n, width = p.width;
  SharedPieces<Sum> pieces{dynamic_shared<Sum>()};
  const auto query = pieces.rows(n, width), key = pieces.rows(n, width), value = pieces.rows(n, width),
             sums = pieces.rows(n, width), weights = pieces.rows(n, n), factor = pieces.rows(n, 1),
             state = pieces.rows(n, 3);

  load_rows<T>(query, n, p.q, batch, head, first, p.queries, width);
  for_elements(n, width, [&](int i, int e) { sums.row(i)[e] = 0; });
  for_elements(n, 1, [&](int i, int) {
    state.row(i)[0] = -INFINITY;
    state.row(i)[1] = 0;
  });
  const int visible = min(p.keys, first + n + p.memory());  // keys that the tile's last query sees
  for (int first_key = 0; first_key < visible; first_key += n) {
    __syncthreads();
    load_rows<T>(key, n, p.k, batch, head, first_key, p.keys, width);
    load_rows<T>(value, n, p.v, batch, head, first_key, p.keys, width);
    __syncthreads();
    for_elements(n, n, [&](int i, int j) { weights.row(i)[j] = dot(query.row(i), key.row(j), width); });
    __syncthreads();
    soften(p, weights, factor, state, first, first_key, n);
    __syncthreads();
    for_elements(n, width, [&](int i, int e) {
      Sum sum = 0;
      for (int j = 0; j < n; ++j) sum += weights.row(i)[j] * value.row(j)[e];
      sums.row(i)[e] = sums.row(i)[e] * *factor.row(i) + sum;
    });
  }
  __syncthreads();
  const int rows = min(n, p.queries - first);
  for_elements(rows, width,
               [&](int i, int e) { out.row(batch, head, first + i)[e] = T(sums.row(i)[e] / state.row(i)[1]); });
  for_elements(rows, 1, [&](int i, int) {
    *logsumexp.row(batch, head, first + i) = state.row(i)[0] + std::log(state.row(i)[1]);
  });
}

template <class T>
void plain_causal_forward(const CausalProblem<T>& p, Device device, const HeadMatrices<T>& out,
                          const HeadMatrices<accumulate_t<T>>& logsumexp) {
  const PlainTile tile(4, 1, 4 * kPlainTile, p.width, sizeof(accumulate_t<T>));
  const dim3 grid(blocks_for(p.queries, tile.size), static_cast<unsigned>(p.heads), static_cast<unsigned>(p.batches));
  launch<plain_causal_kernel<T>>({grid, kPlainThreads, tile.bytes}, stream_of(device), p, tile.size, out, logsumexp);
}

// A block makes the gradients of n rows of one head: grid (tiles of rows, heads, batches).
template <class T, Of of>
__global__ void plain_causal_backward_kernel(CausalBackward<T, of> t, int n) {
  using Sum = accumulate_t<T>;
  const CausalProblem<T>& p = t.p;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x) * n, width = p.width;
  SharedPieces<Sum> pieces{dynamic_shared<Sum>()};
  const auto rows = [&] { return pieces.rows(n, width); };
  const SharedRows<Sum> row = rows(), second_row = rows(), column = rows(), second_column = rows(), dfirst = rows(),
                        dsecond = rows(), weights = pieces.rows(n, n), dscores = pieces.rows(n, n);

  load_rows<T>(row, n, t.first_rows(), batch, head, first, t.rows(), width);
  load_rows<T>(second_row, n, t.second_rows(), batch, head, first, t.rows(), width);
  for_elements(n, width, [&](int i, int e) { dfirst.row(i)[e] = dsecond.row(i)[e] = 0; });
  for (int start = t.begin(first); start < t.end(first, n); start += n) {
    __syncthreads();
    load_rows<T>(column, n, t.first_columns(), batch, head, start, t.columns(), width);
    load_rows<T>(second_column, n, t.second_columns(), batch, head, start, t.columns(), width);
    __syncthreads();
    for_elements(n, n, [&](int i, int j) {
      Sum weight = 0, dlogit = 0;
      if (t.is_pair(first + i, start + j)) {
        const int query = t.kOfKeys ? start + j : first + i;
        const Sum dweight = dot(second_row.row(i), second_column.row(j), width);
        weight = std::exp(dot(row.row(i), column.row(j), width) * p.scale - *t.logsumexp.row(batch, head, query));
        dlogit = weight * (dweight - *t.means.row(batch, head, query));
      }
      weights.row(i)[j] = static_cast<Sum>(T(weight));
      dscores.row(i)[j] = static_cast<Sum>(T(dlogit * p.scale));
    });
    __syncthreads();
    for_elements(n, width, [&](int i, int e) {
      Sum one = 0, other = 0;
      for (int j = 0; j < n; ++j) {
        one += dscores.row(i)[j] * column.row(j)[e];
        if constexpr (of == Of::keys) other += weights.row(i)[j] * second_column.row(j)[e];
      }
      dfirst.row(i)[e] += one;
      dsecond.row(i)[e] += other;
    });
  }
  // Each thread stores what it has added up.
  for_elements(min(n, t.rows() - first), width, [&](int i, int e) {
    t.dfirst.row(batch, head, first + i)[e] = T(dfirst.row(i)[e]);
    if constexpr (of == Of::keys) t.dsecond.row(batch, head, first + i)[e] = T(dsecond.row(i)[e]);
  });
}

template <class T, Of of>
void plain_causal_backward(const CausalBackward<T, of>& t, Device device) {
  const PlainTile tile(6, 2, 0, t.p.width, sizeof(accumulate_t<T>));
  const dim3 grid(blocks_for(t.rows(), tile.size), static_cast<unsigned>(t.p.heads),
                  static_cast<unsigned>(t.p.batches));
  launch<plain_causal_backward_kernel<T, of>>({grid, kPlainThreads, tile.bytes}, stream_of(device), t, tile.size);
}

}  // namespace weir::cuda::attention
