#include "ops/scatter_add_rows.h"

#include <algorithm>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/gather_rows.h"
#include "ops/support/check.h"
#include "ops/support/index.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> scatter_add_rows_kernel{"scatter_add_rows"};

Tensor scatter_add_rows(const Tensor& x, const Tensor& index, std::int64_t rows) {
  check_floating("scatter_add_rows", "x", x);
  check_rank("scatter_add_rows", "x", x, 2);
  check_int32("scatter_add_rows", "index", index);
  check_shape("scatter_add_rows", "index", index, {x.size(0)});
  const Shape shape{rows, x.size(1)};
  check_extents("scatter_add_rows", shape);
  const Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  scatter_add_rows_kernel(x.device(), x, index, y);
  Backward back("scatter_add_rows", {x}, {y});
  back.input(0, [index = back.keep(index)](const Tensor& dy) { return gather_rows(dy, index.get()); });
  return y;
}

namespace {

// The sources of each target row are found by a stable sort, so every row is summed by one thread in one order.
void scatter_add_rows_cpu(const Tensor& x, const Tensor& index, const Tensor& y) {
  const IndexOrder order = stable_order(checked_index("scatter_add_rows", "index", index, y.size(0)), y.size(0));
  const Tensor input = rows_form(x);
  visit_floating("scatter_add_rows", x.dtype(), [&]<class T>(Type<T>) {
    using Sum = accumulate_t<T>;
    const auto in = rows_of<T>(input), out = rows_of<T>(y);
    parallel_for(out.rows, grain_for(out.cols), [&](std::int64_t begin, std::int64_t end) {
      std::vector<Sum> sums(static_cast<std::size_t>(out.cols));
      for (std::int64_t n = begin; n < end; ++n) {
        std::fill(sums.begin(), sums.end(), Sum(0));
        const auto first = order.offsets[static_cast<std::size_t>(n)];
        const auto last = order.offsets[static_cast<std::size_t>(n) + 1];
        for (std::int64_t i = first; i < last; ++i) {
          const T* const row = in.row(order.positions[static_cast<std::size_t>(i)]);
          for (std::size_t c = 0; c < sums.size(); ++c) sums[c] += static_cast<Sum>(row[c]);
        }
        std::transform(sums.begin(), sums.end(), out.row(n), [](Sum v) { return T(v); });
      }
    });
  });
}

const bool on_cpu = scatter_add_rows_kernel.add(DeviceKind::cpu, scatter_add_rows_cpu);

Sample scatter_sample(const std::string& name, std::int64_t r, std::int64_t d, std::int64_t n) {
  return {name,
          {random_tensor({r, d}, 23), random_indices({r}, 24, n, DType::int32)},
          [n](std::span<const Tensor> in) { return std::vector{scatter_add_rows(in[0], in[1], n)}; },
          [n](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values(), index = in[1].values();
            const auto cols = static_cast<std::size_t>(in[0].size(1));
            std::vector<double> y(static_cast<std::size_t>(n) * cols);
            for (std::size_t i = 0; i < x.size(); ++i)
              y[static_cast<std::size_t>(index[i / cols]) * cols + i % cols] += x[i];
            return std::vector{Tensor::from_values({n, in[0].size(1)}, y)};
          }};
}

const OpRegistration registration{{
    .name = "scatter_add_rows",
    .source = __FILE__,
    .signature = "scatter_add_rows(x, index, rows)",
    .summary = "y[n] = sum of the rows x[r] with index[r] = n, in the order of r",
    .samples =
        [] {
          return std::vector<Sample>{
              scatter_sample("usual", 30, 16, 8),    scatter_sample("odd", 11, 5, 7),
              scatter_sample("onto one", 40, 3, 1),  scatter_sample("size one", 1, 1, 1),
              scatter_sample("no rows", 0, 3, 4),    scatter_sample("no columns", 3, 0, 4),
              scatter_sample("spread", 9, 1031, 70),
          };
        },
    .large = [] { return scatter_sample("large", 8192, 1024, 2048); },
    .bad_samples =
        [] {
          const auto call = [](const std::vector<double>& index, DType dtype, std::int64_t rows) {
            return [=] {
              scatter_add_rows(Tensor::zeros({2, 3}, DType::float32),
                               Tensor::from_values({static_cast<std::int64_t>(index.size())}, index, dtype), rows);
            };
          };
          return std::vector<BadSample>{
              {"too large", call({0, 5}, DType::int32, 5), "scatter_add_rows: index[1] is 5, expected 0 <= index < 5"},
              {"negative rows", call({0, 1}, DType::int32, -1), "scatter_add_rows"},
              {"count", call({0}, DType::int32, 4), "scatter_add_rows: expected index of shape [2], got [1]"},
              {"dtype", call({0, 1}, DType::int64, 4), "scatter_add_rows: expected index of dtype int32, got int64"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
