// Forward: a team of threads per row (reduce.cuh) walks over it three times, for the mean, for the variance, which must
// not cancel as E[x^2] - mean^2 would, and for the result; after the first walk the row is in cache.
//
// Backward: a block takes a chunk of rows. Its warps first make dx, a row each; then the block walks over the chunk
// again, by columns, for its share of dweight and dbias. A second launch adds up the shares of all blocks.
#include "ops/layer_norm.h"

#include <cmath>

#include "cuda/column_sum.cuh"
#include "cuda/reduce.cuh"
#include "ops/support/parameters.h"

namespace weir::cuda {
namespace {

template <class Value>
struct Statistics {
  Value *mean, *scale;  // [rows]
};

// Reads of the kernels may be by packs: of x and what has its shape, and of the parameters.
struct Vectors {
  bool rows, parameters;
};

template <class T, class P, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    layer_norm_rows(Rows<T> x, const P* weight, const P* bias, accumulate_t<T> eps, Rows<T> y,
                    Statistics<accumulate_t<T>> statistics, Vectors vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  const auto D = static_cast<Value>(x.cols);
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const T* const row = x.row(r);
    Value sum = 0, squares = 0;
    for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
      const auto pack = load_pack<T, n>(row + col, 1, count, vectors.rows);
      for (int i = 0; i < n; ++i) sum += static_cast<Value>(pack.values[i]);
    });
    const Value mean = team.reduce(sum, Add{}) / D;
    for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
      const auto pack = load_pack<T, n>(row + col, 1, count, vectors.rows);
      for (int i = 0; i < n; ++i) {
        const Value d = static_cast<Value>(pack.values[i]) - mean;
        if (i < count) squares += d * d;
      }
    });
    const Value scale = 1 / std::sqrt(team.reduce(squares, Add{}) / D + eps);
    for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
      auto pack = load_pack<T, n>(row + col, 1, count, vectors.rows);
      const auto w = load_pack<P, n>(weight + col, 1, count, vectors.parameters);
      const auto b = load_pack<P, n>(bias + col, 1, count, vectors.parameters);
      for (int i = 0; i < n; ++i)
        pack.values[i] = T((static_cast<Value>(pack.values[i]) - mean) * scale * static_cast<Value>(w.values[i]) +
                           static_cast<Value>(b.values[i]));
      store_pack(y.row(r) + col, 1, count, vectors.rows, pack);
    });
    if (team.index() == 0) statistics.mean[r] = mean, statistics.scale[r] = scale;
  }
}

// With n = (x - mean) * scale and g = dy * weight:  dx = scale * (g - mean(g) - n * mean(g * n)).
template <class T, class P, class Team>
__device__ void dx_of_row(const Team& team, std::int64_t D, const T* x, const T* dy, const P* weight,
                          accumulate_t<T> mean, accumulate_t<T> scale, T* dx, Vectors vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  // f(n, g, element of a pack of dx) for every element; finish(col, count, pack of dx) for every pack.
  const auto for_elements = [&](auto&& f, auto&& finish) {
    for_packs<T>(team, D, [&](std::int64_t col, int count) {
      const auto in = load_pack<T, n>(x + col, 1, count, vectors.rows);
      auto d = load_pack<T, n>(dy + col, 1, count, vectors.rows);
      const auto w = load_pack<P, n>(weight + col, 1, count, vectors.parameters);
      for (int i = 0; i < n; ++i)
        f((static_cast<Value>(in.values[i]) - mean) * scale,
          static_cast<Value>(d.values[i]) * static_cast<Value>(w.values[i]), d.values[i]);
      finish(col, count, d);
    });
  };
  Value sum_g = 0, sum_gn = 0;
  for_elements([&](Value normal, Value g, T&) { sum_g += g, sum_gn += g * normal; },
               [](std::int64_t, int, const Pack<T>&) {});
  const Value mean_g = team.reduce(sum_g, Add{}) / static_cast<Value>(D);
  const Value mean_gn = team.reduce(sum_gn, Add{}) / static_cast<Value>(D);
  for_elements(
      [&](Value normal, Value g, T& result) { result = T(scale * (g - mean_g - normal * mean_gn)); },
      [&](std::int64_t col, int count, const Pack<T>& pack) { store_pack(dx + col, 1, count, vectors.rows, pack); });
}

// partials: [chunks, 2, D]: the chunk's sums of dy * n, then of dy. dx.data is null where dx is not wanted.
template <class T, class P>
__global__ void __launch_bounds__(kColumnThreads)
    layer_norm_backward_chunks(Rows<T> x, const P* weight, Statistics<accumulate_t<T>> statistics, Rows<T> dy,
                               Rows<T> dx, std::int64_t chunk_rows, int width, accumulate_t<T>* partials,
                               Vectors vectors) {
  using Value = accumulate_t<T>;
  using Team = LaneTeam<kWarp>;
  constexpr int n = kPack<T>;
  const std::int64_t begin = blockIdx.x * chunk_rows, end = begin + chunk_rows < x.rows ? begin + chunk_rows : x.rows;
  if (dx.data != nullptr)
    for (std::int64_t r = begin + threadIdx.x / kWarp; r < end; r += kColumnThreads / kWarp)
      dx_of_row(Team{}, x.cols, x.row(r), dy.row(r), weight, statistics.mean[r], statistics.scale[r], dx.row(r),
                vectors);
  for (std::int64_t col = 0; col < x.cols; col += width * n)
    sum_columns<2, n, Value>(begin, end, col, x.cols, width, partials + blockIdx.x * 2 * x.cols,
                             [&](std::int64_t row, std::int64_t first, int count, Value* sums) {
                               const auto in = load_pack<T, n>(x.row(row) + first, 1, count, vectors.rows);
                               const auto d = load_pack<T, n>(dy.row(row) + first, 1, count, vectors.rows);
                               const Value mean = statistics.mean[row], scale = statistics.scale[row];
                               for (int i = 0; i < n; ++i) {
                                 const Value given = static_cast<Value>(d.values[i]);
                                 sums[i] += given * ((static_cast<Value>(in.values[i]) - mean) * scale);
                                 sums[n + i] += given;
                               }
                             });
}

template <class T>
Statistics<T> pointers(const RowStatistics& statistics) {
  return {statistics.mean.data<T>(), statistics.scale.data<T>()};
}

void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, const Tensor& y,
                const RowStatistics& statistics) {
  if (x.numel() == 0) return;
  const Tensor in = rows_form(x), weights = rows_form(weight), biases = rows_form(bias);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    constexpr int n = kPack<T>;
    const auto rows = rows_of<T>(in), out = rows_of<T>(y);
    const auto w = rows_of<P>(weights), b = rows_of<P>(biases);
    const Vectors vectors{rows_hold_packs(rows, out), packs_begin_at<n>(w.data) && packs_begin_at<n>(b.data)};
    with_team<T>(rows.cols, [&]<class Team>(Type<Team>) {
      launch<layer_norm_rows<T, P, Team>>(team_shape<Team>(rows.rows), stream_of(x.device()), rows, w.data, b.data,
                                          static_cast<Value>(eps), out, pointers<Value>(statistics), vectors);
    });
  });
}

void layer_norm_backward(const Tensor& x, const Tensor& weight, const RowStatistics& statistics, const Tensor& dy,
                         const Tensor& dx, const Tensor& dweight, const Tensor& dbias) {
  if (x.numel() == 0) {
    fill(dweight, 0);
    fill(dbias, 0);
    return;
  }
  const Device device = x.device();
  const Tensor in = rows_form(x), gradients = rows_form(dy), weights = rows_form(weight);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    constexpr int n = kPack<T>;
    const auto rows = rows_of<T>(in), d = rows_of<T>(gradients);
    const auto target = dx.defined() ? rows_of<T>(dx) : Rows<T>{};
    const P* const w = rows_of<P>(weights).data;
    const std::int64_t D = rows.cols, chunk = rows_per_chunk(rows.rows), chunks = (rows.rows + chunk - 1) / chunk;
    const Tensor partials = Tensor::empty(Shape{chunks * 2 * D}, dtype_of<Value>(), device);
    Value* const sums = partials.data<Value>();
    launch<layer_norm_backward_chunks<T, P>>({blocks_for(chunks, 1), kColumnThreads}, stream_of(device), rows, w,
                                             pointers<Value>(statistics), d, target, chunk, columns_width(D, n, kWarp),
                                             sums, Vectors{rows_hold_packs(rows, d, target), packs_begin_at<n>(w)});
    sum_all_rows(device, Rows<Value>{sums, chunks, D, 2 * D}, dweight.data<P>());
    sum_all_rows(device, Rows<Value>{sums + D, chunks, D, 2 * D}, dbias.data<P>());
  });
}

const bool registered = layer_norm_kernel.add(DeviceKind::cuda, layer_norm) &&
                        layer_norm_backward_kernel.add(DeviceKind::cuda, layer_norm_backward);

}  // namespace
}  // namespace weir::cuda
