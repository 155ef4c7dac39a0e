// Softmax and log-softmax of rows, which differ in three formulas. A team of threads per row (reduce.cuh). Forward and
// backward walk over the row twice, and find it in cache the second time: once for the sums, once for the results.
//
//   struct Formula {
//     Value prepared(Value sum)                    of the sum of exp(x - shift), once per row
//     Value result(Value shifted, Value prepared)  y, from x - shift
//     Value term(Value y, Value dy)                what the backward pass adds up
//     Value gradient(Value y, Value dy, Value sum) dx
//   };
#pragma once

#include "cuda/exp_row.cuh"

namespace weir::cuda {

template <class Formula, class T, class Team>
__global__ void __launch_bounds__(Team::kBlock) softmax_rows(Rows<T> x, Rows<T> y, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  for (std::int64_t r = team.first(); r < x.rows; r += team.stride()) {
    const T* const row = x.row(r);
    const ExpRow<Value> all = exp_row(team, row, x.cols, vectors);
    const Value prepared = Formula{}.prepared(all.sum);
    for_packs<T>(team, x.cols, [&](std::int64_t col, int count) {
      auto pack = load_pack<T, n>(row + col, 1, count, vectors);
      for (int i = 0; i < n; ++i)
        pack.values[i] = T(Formula{}.result(static_cast<Value>(pack.values[i]) - all.shift, prepared));
      store_pack(y.row(r) + col, 1, count, vectors, pack);
    });
  }
}

template <class Formula, class T, class Team>
__global__ void __launch_bounds__(Team::kBlock) softmax_backward_rows(Rows<T> y, Rows<T> dy, Rows<T> dx, bool vectors) {
  using Value = accumulate_t<T>;
  constexpr int n = kPack<T>;
  const Team team;
  for (std::int64_t r = team.first(); r < y.rows; r += team.stride()) {
    // f(y, element of a pack of dy) for every element; finish(col, count, pack of dy) for every pack.
    const auto for_elements = [&](auto&& f, auto&& finish) {
      for_packs<T>(team, y.cols, [&](std::int64_t col, int count) {
        const auto p = load_pack<T, n>(y.row(r) + col, 1, count, vectors);
        auto d = load_pack<T, n>(dy.row(r) + col, 1, count, vectors);
        for (int i = 0; i < n; ++i) f(static_cast<Value>(p.values[i]), d.values[i]);
        finish(col, count, d);
      });
    };
    Value sum = 0;
    for_elements([&](Value result, T& d) { sum += Formula{}.term(result, static_cast<Value>(d)); },
                 [](std::int64_t, int, const Pack<T>&) {});
    sum = team.reduce(sum, Add{});
    for_elements([&](Value result, T& d) { d = T(Formula{}.gradient(result, static_cast<Value>(d), sum)); },
                 [&](std::int64_t col, int count, const Pack<T>& pack) {
                   store_pack(dx.row(r) + col, 1, count, vectors, pack);
                 });
  }
}

template <class Formula>
void softmax_forward(const char* op, const Tensor& x, const Tensor& y) {
  if (x.numel() == 0) return;
  const Tensor dense = rows_form(x);
  visit_floating(op, x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    with_team<T>(in.cols, [&]<class Team>(Type<Team>) {
      launch<softmax_rows<Formula, T, Team>>(team_shape<Team>(in.rows), stream_of(x.device()), in, out,
                                             rows_hold_packs(in, out));
    });
  });
}

template <class Formula>
void softmax_backward(const char* op, const Tensor& y, const Tensor& dy, const Tensor& dx) {
  if (y.numel() == 0) return;
  const Tensor outputs = rows_form(y), gradients = rows_form(dy);
  visit_floating(op, y.dtype(), [&]<class T>(Type<T>) {
    const auto out = rows_of<T>(outputs), given = rows_of<T>(gradients), result = rows_of<T>(dx);
    with_team<T>(out.cols, [&]<class Team>(Type<Team>) {
      launch<softmax_backward_rows<Formula, T, Team>>(team_shape<Team>(out.rows), stream_of(y.device()), out, given,
                                                      result, rows_hold_packs(out, given, result));
    });
  });
}

}  // namespace weir::cuda
