// A team of threads per row (reduce.cuh), which walks over the row twice.
#include "ops/log_softmax.h"

#include "cuda/exp_row.cuh"

namespace weir::cuda {
namespace {

template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock) log_softmax_rows(Rows<T> x, Rows<T> y, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const T* const row = x.row(r);
    const ExpRow<Value> all = exp_row(team, row, x.cols, vectors);
    const Value total = std::log(all.sum);
    for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
      auto pack = load_pack<T, n>(row + col, 1, count, vectors);
      for (int i = 0; i < n; ++i) pack.values[i] = T((static_cast<Value>(pack.values[i]) - all.shift) - total);
      store_pack(y.row(r) + col, 1, count, vectors, pack);
    });
  }
}

// dx = dy - e^y (sum of dy)
template <class T, class Team>
__global__ void __launch_bounds__(Team::kBlock)
    log_softmax_backward_rows(Rows<T> y, Rows<T> dy, Rows<T> dx, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  for (std::int64_t r = team.first(); r < y.rows; r += team.stride()) {
    Value sum = 0;
    for_packs<T>(team, y.cols, [&](std::int64_t col, int count) {
      const auto d = load_pack<T, n>(dy.row(r) + col, 1, count, vectors);
      for (int i = 0; i < n; ++i) sum += static_cast<Value>(d.values[i]);
    });
    sum = team.reduce(sum, Add{});
    for_packs<T>(team, y.cols, [&](std::int64_t col, int count) {
      const auto p = load_pack<T, n>(y.row(r) + col, 1, count, vectors);
      auto d = load_pack<T, n>(dy.row(r) + col, 1, count, vectors);
      for (int i = 0; i < n; ++i)
        d.values[i] = T(static_cast<Value>(d.values[i]) - std::exp(static_cast<Value>(p.values[i])) * sum);
      store_pack(dx.row(r) + col, 1, count, vectors, d);
    });
  }
}

void log_softmax(const Tensor& x, const Tensor& y) {
  if (x.numel() == 0) return;
  const Tensor dense = rows_form(x);
  visit_floating("log_softmax", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    with_team<T>(in.cols, [&]<class Team>(Type<Team>) {
      launch<log_softmax_rows<T, Team>>(team_shape<Team>(in.rows), stream_of(x.device()), in, out,
                                        rows_hold_packs(in, out));
    });
  });
}

void log_softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  if (y.numel() == 0) return;
  const Tensor outputs = rows_form(y), gradients = rows_form(dy);
  visit_floating("log_softmax", y.dtype(), [&]<class T>(Type<T>) {
    const auto out = rows_of<T>(outputs), given = rows_of<T>(gradients), result = rows_of<T>(dx);
    with_team<T>(out.cols, [&]<class Team>(Type<Team>) {
      launch<log_softmax_backward_rows<T, Team>>(team_shape<Team>(out.rows), stream_of(y.device()), out, given, result,
                                                 rows_hold_packs(out, given, result));
    });
  });
}

const bool registered = log_softmax_kernel.add(DeviceKind::cuda, log_softmax) &&
                        log_softmax_backward_kernel.add(DeviceKind::cuda, log_softmax_backward);

}  // namespace
}  // namespace weir::cuda
