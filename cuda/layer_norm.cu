// The method stands in layer_norm_rows.cuh.
#include "cuda/layer_norm_rows.cuh"
#include "ops/support/parameters.h"

namespace weir::cuda {
namespace {

template <class T, class P, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    layer_norm_rows(Rows<T> x, const P* weight, const P* bias, accumulate_t<T> eps, Rows<T> y,
                    RowNorm<accumulate_t<T>>* norms, Vectors vectors) {
  const Team team;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const T* const row = x.row(r);
    normalise_row(
        team, r, x.cols, weight, bias, eps,
        [&](std::int64_t col, int count) { return load_pack<T, kPack<T>>(row + col, 1, count, vectors.rows); }, row,
        y.row(r), norms, vectors);
  }
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
                                          static_cast<Value>(eps), out, statistics.rows<Value>(), vectors);
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
  const Tensor in = rows_form(x), gradients = rows_form(dy);
  visit_with_parameters("layer_norm", x.dtype(), weight.dtype(), [&]<class T, class P>(Type<T>, Type<P>) {
    const StoreDx<T> store{dx.defined() ? rows_of<T>(dx) : Rows<T>{}};
    launch_layer_norm_backward<T, P>(x.device(), rows_of<T>(in), weight, statistics, rows_of<T>(gradients), store,
                                     rows_hold_packs(store.dx), dweight, dbias);
  });
}

const bool registered = layer_norm_kernel.add(DeviceKind::cuda, layer_norm) &&
                        layer_norm_backward_kernel.add(DeviceKind::cuda, layer_norm_backward);

}  // namespace
}  // namespace weir::cuda
