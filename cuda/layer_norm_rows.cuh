// Layer norm and RMS norm along rows, for the kernels of the ops that hold one. RMS norm is the norm around zero: it
// has no mean, no bias and no dbias.
//
// Forward: a team of threads per row (reduce.cuh) walks over it three times, for the mean, for the variance, which must
// not cancel as E[x^2] - mean^2 would, and for the result; after the first walk the row is in cache. Rows far from zero
// or out of range are walked over once or twice more (ops/support/row_norm.h).
//
// Backward: a block takes a chunk of rows. Its warps first make dx, a row each; then the block walks over the chunk
// again, by columns, for its share of dweight and dbias. A second launch adds up the shares of all blocks.
#pragma once

#include "cuda/column_sum.cuh"
#include "cuda/reduce.cuh"
#include "ops/layer_norm.h"

namespace weir::cuda {

// Reads of the kernels may be by packs: of x and what has its shape, and of the parameters.
struct Vectors {
  bool rows, parameters;
};

// out = the norm of a row of D elements; r: where its statistics go. load(col, count) gives the packs for the walk for
// the mean, which there is none of around zero; after it thread by thread they must stand in `row`.
template <Centre centre = Centre::mean, class T, class P, class Team, class Load>
__device__ void normalise_row(const Team& team, std::int64_t r, std::int64_t D, const P* weight, const P* bias,
                              accumulate_t<T> eps, Load&& load, const T* row, T* out, RowNorm<accumulate_t<T>>* norms,
                              Vectors vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Value share = 1 / static_cast<Value>(D);
  RowNorm<Value> norm;
  if constexpr (centre == Centre::mean) {
    Value total = 0;
    for_packs<T>(team, D, [&](std::int64_t col, int count) {
      const Pack<T> pack = load(col, count);
      for (int i = 0; i < n; ++i) total += static_cast<Value>(pack.values[i]);
    });
    norm.mean = team.reduce(total, Add{}) * share;
  }
  for (int walk = 1;; ++walk) {
    Value sum = 0, squares = 0;
    for_packs<T>(team, D, [&](std::int64_t col, int count) {
      const auto pack = load_pack<T, n>(row + col, 1, count, vectors.rows);
      for (int i = 0; i < n; ++i) {
        const Value d = static_cast<Value>(pack.values[i]) * norm.unit - norm.mean;
        if (i < count) sum += d, squares += d * d;
      }
    });
    sum = centre == Centre::mean ? team.reduce(sum, Add{}) : 0, squares = team.reduce(squares, Add{});
    if (!norm.settle(sum, squares, share, eps, walk == norm.kWalks)) break;
  }
  for_packs<T>(team, D, [&](std::int64_t col, int count) {
    auto pack = load_pack<T, n>(row + col, 1, count, vectors.rows);
    const auto w = load_pack<P, n>(weight + col, 1, count, vectors.parameters);
    Pack<P, n> b = {};
    if constexpr (centre == Centre::mean) b = load_pack<P, n>(bias + col, 1, count, vectors.parameters);
    for (int i = 0; i < n; ++i)
      pack.values[i] = T(norm(static_cast<Value>(pack.values[i])) * static_cast<Value>(w.values[i]) +
                         static_cast<Value>(b.values[i]));
    store_pack(out + col, 1, count, vectors.rows, pack);
  });
  if (team.index() == 0) norms[r] = norm;
}

template <Centre centre, class T, class P, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    norm_rows(Rows<T> x, const P* weight, const P* bias, accumulate_t<T> eps, Rows<T> y,
              RowNorm<accumulate_t<T>>* norms, Vectors vectors) {
  const Team team;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const T* const row = x.row(r);
    normalise_row<centre>(
        team, r, x.cols, weight, bias, eps,
        [&](std::int64_t col, int count) { return load_pack<T, kPack<T>>(row + col, 1, count, vectors.rows); }, row,
        y.row(r), norms, vectors);
  }
}

// bias: undefined around zero.
template <class T, class P, Centre centre = Centre::mean>
void launch_norm(Device device, const Rows<T>& x, const Tensor& weight, const Tensor& bias, double eps,
                 const Rows<T>& y, const RowStatistics& statistics) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Tensor weights = rows_form(weight), biases = bias.defined() ? rows_form(bias) : bias;
  const P *const w = rows_of<P>(weights).data, *const b = biases.defined() ? rows_of<P>(biases).data : nullptr;
  const Vectors vectors{rows_hold_packs(x, y), packs_begin_at<n>(w) && packs_begin_at<n>(b)};
  with_team<T>(x.cols, [&]<class Team>(Type<Team>) {
    launch<norm_rows<centre, T, P, Team>>(team_shape<Team>(x.rows), stream_of(device), x, w, b, static_cast<Value>(eps),
                                          y, statistics.rows<Value>(), vectors);
  });
}

// With n = n(x) and g = dy * weight:  dx = dn/dx * (g - mean(g) - n * mean(g * n)); around zero mean(g) falls away.
// finish(col, count, pack of dx) for every pack.
template <Centre centre, class T, class P, class Team, class Finish>
__device__ void dx_of_row(const Team& team, std::int64_t D, const T* x, const T* dy, const P* weight,
                          RowNorm<accumulate_t<T>> norm, Vectors vectors, Finish&& finish) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  // f(n, g, element of a pack of values) for every element; then(col, count, that pack) for every pack.
  const auto for_elements = [&](auto&& f, auto&& then) {
    for_packs<T>(team, D, [&](std::int64_t col, int count) {
      const auto in = load_pack<T, n>(x + col, 1, count, vectors.rows);
      const auto d = load_pack<T, n>(dy + col, 1, count, vectors.rows);
      const auto w = load_pack<P, n>(weight + col, 1, count, vectors.parameters);
      Pack<Value, n> values;
      for (int i = 0; i < n; ++i)
        f(norm(static_cast<Value>(in.values[i])), static_cast<Value>(d.values[i]) * static_cast<Value>(w.values[i]),
          values.values[i]);
      then(col, count, values);
    });
  };
  Value sum_g = 0, sum_gn = 0;
  for_elements([&](Value normal, Value g, Value&) { sum_g += g, sum_gn += g * normal; },
               [](std::int64_t, int, const Pack<Value, n>&) {});
  const Value mean_g = centre == Centre::mean ? team.reduce(sum_g, Add{}) / static_cast<Value>(D) : 0;
  const Value mean_gn = team.reduce(sum_gn, Add{}) / static_cast<Value>(D);
  const Value slope = norm.slope();
  for_elements([&](Value normal, Value g, Value& dx) { dx = slope * (g - mean_g - normal * mean_gn); }, finish);
}

// Rounds dx and stores it.
template <class T>
struct StoreDx {
  Rows<T> dx;  // data: null where it is not wanted

  __device__ bool wanted() const { return dx.data != nullptr; }
  __device__ void operator()(std::int64_t row, std::int64_t col, int count, bool vectors,
                             const Pack<accumulate_t<T>, kPack<T>>& values) const {
    Pack<T> pack;
    for (int i = 0; i < kPack<T>; ++i) pack.values[i] = T(values.values[i]);
    store_pack(dx.row(row) + col, 1, count, vectors, pack);
  }
};

// Sums over rows that the gradients of the parameters take.
template <Centre centre>
inline constexpr int kParameterSums = centre == Centre::mean ? 2 : 1;

// partials: [chunks, sums, D]: the chunk's sums of dy * n, then of dy. What becomes of dx says `finish`, an object with
//   wanted()                                     whether dx is to be computed at all
//   operator()(row, col, count, vectors, pack)   called with each pack of it; vectors: it may store by packs
template <Centre centre, class T, class P, class Finish>
__global__ void __launch_bounds__(kColumnThreads)
    layer_norm_backward_chunks(Rows<T> x, const P* weight, const RowNorm<accumulate_t<T>>* norms, Rows<T> dy,
                               Finish finish, std::int64_t chunk_rows, int width, accumulate_t<T>* partials,
                               Vectors vectors) {
  using Value = accumulate_t<T>;
  using Team = LaneTeam<kWarp>;
  constexpr int n = kPack<T>, kSums = kParameterSums<centre>;
  const std::int64_t begin = blockIdx.x * chunk_rows, end = begin + chunk_rows < x.rows ? begin + chunk_rows : x.rows;
  if (finish.wanted())
    for (std::int64_t r = begin + threadIdx.x / kWarp; r < end; r += kColumnThreads / kWarp)
      dx_of_row<centre>(
          Team{}, x.cols, x.row(r), dy.row(r), weight, norms[r], vectors,
          [&](std::int64_t col, int count, const Pack<Value, n>& dx) { finish(r, col, count, vectors.rows, dx); });
  for (std::int64_t col = 0; col < x.cols; col += width * n)
    sum_columns<kSums, n, Value>(begin, end, col, x.cols, width, partials + blockIdx.x * kSums * x.cols,
                                 [&](std::int64_t row, std::int64_t first, int count, Value* sums) {
                                   const auto in = load_pack<T, n>(x.row(row) + first, 1, count, vectors.rows);
                                   const auto d = load_pack<T, n>(dy.row(row) + first, 1, count, vectors.rows);
                                   const RowNorm<Value> norm = norms[row];
                                   for (int i = 0; i < n; ++i) {
                                     const Value given = static_cast<Value>(d.values[i]);
                                     sums[i] += given * norm(static_cast<Value>(in.values[i]));
                                     if constexpr (centre == Centre::mean) sums[n + i] += given;
                                   }
                                 });
}

// Both launches. packs: `finish` too may store by packs; dbias: undefined around zero.
template <class T, class P, Centre centre = Centre::mean, class Finish>
void launch_layer_norm_backward(Device device, const Rows<T>& x, const Tensor& weight, const RowStatistics& statistics,
                                const Rows<T>& dy, const Finish& finish, bool packs, const Tensor& dweight,
                                const Tensor& dbias) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>, kSums = kParameterSums<centre>;
  const Tensor weights = rows_form(weight);
  const P* const w = rows_of<P>(weights).data;
  const std::int64_t D = x.cols, chunk = rows_per_chunk(x.rows), chunks = (x.rows + chunk - 1) / chunk;
  const Tensor partials = Tensor::empty(Shape{chunks * kSums * D}, dtype_of<Value>(), device);
  Value* const sums = partials.data<Value>();
  launch<layer_norm_backward_chunks<centre, T, P, Finish>>(
      {blocks_for(chunks, 1), kColumnThreads}, stream_of(device), x, w, statistics.rows<Value>(), dy, finish, chunk,
      columns_width(D, n, kWarp), sums, Vectors{packs && rows_hold_packs(x, dy), packs_begin_at<n>(w)});
  sum_all_rows(device, Rows<Value>{sums, chunks, D, kSums * D}, dweight.data<P>());
  if constexpr (centre == Centre::mean)
    sum_all_rows(device, Rows<Value>{sums + D, chunks, D, kSums * D}, dbias.data<P>());
}

}  // namespace weir::cuda
