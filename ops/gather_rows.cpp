#include "ops/gather_rows.h"

#include <algorithm>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/scatter_add_rows.h"
#include "ops/support/check.h"
#include "ops/support/index.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> gather_rows_kernel{
    "gather_rows", [](const Tensor&, const Tensor& index, const Tensor& y) {
      return KernelCost{.bytes = bytes_of(index, y, y)};  // as much is read as is written
    }};

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  check_floating("gather_rows", "x", x);
  check_rank("gather_rows", "x", x, 2);
  check_rank("gather_rows", "index", index, 1);
  check_int32("gather_rows", "index", index);
  const Tensor y = Tensor::empty({index.size(0), x.size(1)}, x.dtype(), x.device());
  gather_rows_kernel(x.device(), x, index, y);
  Backward back("gather_rows", {x}, {y});
  back.input(0, [index = back.keep(index), rows = x.size(0)](const Tensor& dy) {
    return scatter_add_rows(dy, index.get(), rows);
  });
  return y;
}

namespace {

void gather_rows_cpu(const Tensor& x, const Tensor& index, const Tensor& y) {
  const std::vector<std::int64_t> rows = checked_index("gather_rows", "index", index, x.size(0));
  const Tensor input = rows_form(x);
  visit_floating("gather_rows", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(input), out = rows_of<T>(y);
    parallel_for(out.rows, grain_for(out.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        std::copy_n(in.row(rows[static_cast<std::size_t>(r)]), out.cols, out.row(r));
    });
  });
}

const bool on_cpu = gather_rows_kernel.add(DeviceKind::cpu, gather_rows_cpu);

Sample gather_sample(const std::string& name, std::int64_t n, std::int64_t d, std::int64_t r) {
  return {name,
          {random_tensor({n, d}, 21), random_indices({r}, 22, std::max<std::int64_t>(n, 1), DType::int32)},
          [](std::span<const Tensor> in) { return std::vector{gather_rows(in[0], in[1])}; },
          [](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values(), index = in[1].values();
            std::vector<double> y;
            for (double row : index)
              for (std::int64_t c = 0; c < in[0].size(1); ++c)
                y.push_back(x[static_cast<std::size_t>(static_cast<std::int64_t>(row) * in[0].size(1) + c)]);
            return std::vector{Tensor::from_values({in[1].size(0), in[0].size(1)}, y)};
          }};
}

const OpRegistration registration{{
    .name = "gather_rows",
    .source = __FILE__,
    .signature = "gather_rows(x, index)",
    .summary = "y[r] = x[index[r]]: rows of a matrix, chosen by an int32 index",
    .samples =
        [] {
          return std::vector<Sample>{
              gather_sample("usual", 8, 16, 30),    gather_sample("odd", 7, 5, 11),
              gather_sample("size one", 1, 1, 1),   gather_sample("no index", 4, 3, 0),
              gather_sample("no columns", 4, 0, 3), gather_sample("long rows", 3, 1031, 70),
          };
        },
    .large = [] { return gather_sample("large", 8192, 1024, 8192); },
    .bad_samples =
        [] {
          const auto call = [](const Shape& shape, const std::vector<double>& index, DType dtype) {
            return [=] {
              gather_rows(Tensor::zeros(shape, DType::float32),
                          Tensor::from_values({static_cast<std::int64_t>(index.size())}, index, dtype));
            };
          };
          return std::vector<BadSample>{
              {"too large", call({3, 2}, {0, 3}, DType::int32), "gather_rows: index[1] is 3, expected 0 <= index < 3"},
              {"negative", call({3, 2}, {-1}, DType::int32), "gather_rows: index[0] is -1"},
              {"no rows", call({0, 2}, {0}, DType::int32), "gather_rows: index[0] is 0, expected 0 <= index < 0"},
              {"rank", call({3}, {0}, DType::int32), "gather_rows: expected x with 2 axes, got shape [3]"},
              {"dtype", call({3, 2}, {0}, DType::int64), "gather_rows: expected index of dtype int32, got int64"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
