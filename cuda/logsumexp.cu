// A team of threads per row (reduce.cuh); each walks over it once.
#include "ops/logsumexp.h"

#include "cuda/exp_row.cuh"

namespace weir::cuda {
namespace {

template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock) logsumexp_rows(Rows<T> x, Rows<T> y, bool vectors) {
  const Team team;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const auto all = exp_row(team, x.row(r), x.cols, vectors);
    if (team.index() == 0) y.row(r)[0] = T(all.shift + std::log(all.sum));
  }
}

// dx = dy e^(x - y); where y is infinite, the elements that are +infinity share dy. y, dy: [rows, 1]
template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    logsumexp_backward_rows(Rows<T> x, Rows<T> y, Rows<T> dy, Rows<T> dx, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const Value total = y.row(r)[0], factor = dy.row(r)[0];
    // dx = f(x) for every element.
    const auto for_elements = [&](auto&& f) {
      for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
        auto pack = load_pack<T, n>(x.row(r) + col, 1, count, vectors);
        for (int i = 0; i < n; ++i) pack.values[i] = T(f(static_cast<Value>(pack.values[i])));
        store_pack(dx.row(r) + col, 1, count, vectors, pack);
      });
    };
    if (total - total == 0 || total != total) {
      for_elements([&](Value v) { return factor * std::exp(v - total); });
      continue;
    }
    Value infinities = 0;
    for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
      const auto pack = load_pack<T, n>(x.row(r) + col, 1, count, vectors);
      for (int i = 0; i < n; ++i) infinities += Value(static_cast<Value>(pack.values[i]) == INFINITY);
    });
    infinities = team.reduce(infinities, Add{});
    for_elements([&](Value v) { return v == INFINITY ? factor / infinities : Value(0); });
  }
}

void logsumexp(const Tensor& x, const Tensor& y) {
  if (y.numel() == 0) return;
  const Tensor dense = rows_form(x);
  visit_floating("logsumexp", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    with_team<T>(in.cols, [&]<class Team>(Type<Team>) {
      launch<logsumexp_rows<T, Team>>(team_shape<Team>(in.rows), stream_of(x.device()), in, out, rows_hold_packs(in));
    });
  });
}

void logsumexp_backward(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx) {
  if (x.numel() == 0) return;
  const Tensor from = rows_form(x), sums = rows_form(y), factors = rows_form(dy);
  visit_floating("logsumexp", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(from), out = rows_of<T>(dx);
    with_team<T>(in.cols, [&]<class Team>(Type<Team>) {
      launch<logsumexp_backward_rows<T, Team>>(team_shape<Team>(in.rows), stream_of(x.device()), in, rows_of<T>(sums),
                                               rows_of<T>(factors), out, rows_hold_packs(in, out));
    });
  });
}

const bool registered = logsumexp_kernel.add(DeviceKind::cuda, logsumexp) &&
                        logsumexp_backward_kernel.add(DeviceKind::cuda, logsumexp_backward);

}  // namespace
}  // namespace weir::cuda
