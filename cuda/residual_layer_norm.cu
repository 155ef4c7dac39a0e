// layer_norm_rows.cuh with another first walk, which makes the sum, and another end, which adds the sum's own gradient
// and drops the branch's part. Element i takes value i of the stream, as in dropout.cu.
#include "ops/residual_layer_norm.h"

#include <algorithm>

#include "cuda/keep.cuh"
#include "cuda/layer_norm_rows.cuh"
#include "ops/cpu/keep.h"
#include "ops/support/parameters.h"

namespace weir::cuda {
namespace {

// Dropout of elements that go along rows of `cols`; for threshold 0 all are kept and nothing is drawn.
template <class Value>
struct Dropping {
  RandomStream random;
  std::uint32_t threshold;
  Value scale;
  std::int64_t cols;

  __device__ Dropping settled() const { return {random.settled(), threshold, scale, cols}; }
  // Bit i is set where element i of a pack is kept; once settled.
  template <int n>
  __device__ unsigned kept_in(std::int64_t row, std::int64_t col) const {
    if (threshold == 0) return ~0u;
    return kept<std::max(4, n)>(random, static_cast<std::uint64_t>(row * cols + col), threshold);
  }
};

template <class T>
Dropping<accumulate_t<T>> dropping_of(double p, const RandomStream& random, std::int64_t cols) {
  return {random, cpu::keep_threshold(p), static_cast<accumulate_t<T>>(1 / (1 - p)), cols};
}

template <class T, class P, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    residual_layer_norm_rows(Rows<T> x, Rows<T> branch, const P* weight, const P* bias, accumulate_t<T> eps,
                             Dropping<accumulate_t<T>> dropping, Rows<T> sum, Rows<T> normed,
                             RowNorm<accumulate_t<T>>* norms, Vectors vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  dropping = dropping.settled();
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const auto add = [&](std::int64_t col, int count) {
      auto pack = load_pack<T, n>(x.row(r) + col, 1, count, vectors.rows);
      const auto added = load_pack<T, n>(branch.row(r) + col, 1, count, vectors.rows);
      const unsigned kept = dropping.template kept_in<n>(r, col);
      for (int i = 0; i < n; ++i) {
        const Value more = (kept >> i & 1) != 0 ? static_cast<Value>(added.values[i]) : Value(0);
        pack.values[i] = T(static_cast<Value>(pack.values[i]) + more * dropping.scale);
      }
      store_pack(sum.row(r) + col, 1, count, vectors.rows, pack);
      return pack;
    };
    normalise_row(team, r, x.cols, weight, bias, eps, add, static_cast<const T*>(sum.row(r)), normed.row(r), norms,
                  vectors);
  }
}

// dx = dsum + what comes through the norm; dbranch = dropout(dx).
template <class T>
struct StoreResidual {
  using Value = accumulate_t<T>;
  Rows<T> dsum, dx, dbranch;  // data of dsum and dbranch: null for none
  Dropping<Value> dropping;

  __device__ bool wanted() const { return true; }
  __device__ void operator()(std::int64_t row, std::int64_t col, int count, bool vectors,
                             const Pack<Value, kPack<T>>& values) const {
    constexpr int n = kPack<T>;
    const Pack<T> straight = dsum.data == nullptr ? Pack<T>{} : load_pack<T, n>(dsum.row(row) + col, 1, count, vectors);
    Pack<T> pack;
    for (int i = 0; i < n; ++i) pack.values[i] = T(static_cast<Value>(straight.values[i]) + values.values[i]);
    store_pack(dx.row(row) + col, 1, count, vectors, pack);
    if (dbranch.data == nullptr) return;
    const unsigned kept = dropping.settled().template kept_in<n>(row, col);
    for (int i = 0; i < n; ++i)
      pack.values[i] = T((kept >> i & 1) != 0 ? static_cast<Value>(pack.values[i]) * dropping.scale : Value(0));
    store_pack(dbranch.row(row) + col, 1, count, vectors, pack);
  }
};

void forward(const Tensor& x, const Tensor& branch, const Tensor& weight, const Tensor& bias, double eps, double p,
             const RandomStream& random, const ResidualLayerNorm& out, const RowStatistics& statistics) {
  const Tensor in = rows_form(x), added = rows_form(branch), weights = rows_form(weight), biases = rows_form(bias);
  visit_with_parameters("residual_layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    using Value = accumulate_t<T>;
    constexpr int n = kPack<T>;
    const auto rows = rows_of<T>(in), more = rows_of<T>(added), sum = rows_of<T>(out.sum),
               normed = rows_of<T>(out.normed);
    const P *const w = rows_of<P>(weights).data, *const b = rows_of<P>(biases).data;
    const Vectors vectors{rows_hold_packs(rows, more, sum, normed), packs_begin_at<n>(w) && packs_begin_at<n>(b)};
    with_team<T>(rows.cols, [&]<class Team>(Type<Team>) {
      launch<residual_layer_norm_rows<T, P, Team>>(team_shape<Team>(rows.rows), stream_of(x.device()), rows, more, w, b,
                                                   static_cast<Value>(eps), dropping_of<T>(p, random, rows.cols), sum,
                                                   normed, statistics.rows<Value>(), vectors);
    });
  });
}

void backward(const Tensor& sum, const Tensor& weight, const RowStatistics& statistics, const Tensor& dsum,
              const Tensor& dnormed, double p, const RandomStream& random, const Tensor& dx, const Tensor& dbranch,
              const Tensor& dweight, const Tensor& dbias) {
  const Tensor gradients = rows_form(dnormed), straight = dsum.defined() ? rows_form(dsum) : dsum;
  visit_with_parameters("residual_layer_norm", sum.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    const auto in = rows_of<T>(sum);
    const StoreResidual<T> store{straight.defined() ? rows_of<T>(straight) : Rows<T>{}, rows_of<T>(dx),
                                 dbranch.defined() ? rows_of<T>(dbranch) : Rows<T>{},
                                 dropping_of<T>(p, random, in.cols)};
    launch_layer_norm_backward<T, P>(sum.device(), in, weight, statistics, rows_of<T>(gradients), store,
                                     rows_hold_packs(store.dsum, store.dx, store.dbranch), dweight, dbias);
  });
}

const bool registered = residual_layer_norm_kernel.add(DeviceKind::cuda, forward) &&
                        residual_layer_norm_backward_kernel.add(DeviceKind::cuda, backward);

}  // namespace
}  // namespace weir::cuda
