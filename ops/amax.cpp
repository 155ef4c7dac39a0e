#include "ops/amax.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/parallel.h"
#include "ops/permute.h"
#include "ops/reshape.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"
#include "ops/take_along.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&)> amax_kernel{"amax"};

Tensor first_maxima(const char* op, const Tensor& x, int axis) {
  check_floating(op, "x", x);
  axis = normalise_axis(op, axis, x.rank());
  if (x.size(axis) == 0)
    throw ArgumentError(fmt::format("{}: axis {} of shape {} is empty and has no maximum", op, axis, x.shape().str()));
  const Tensor rows = transpose_view(x.detach(), axis, -1);
  const Tensor index = Tensor::empty(rows.shape().with(-1, 1), DType::int32, x.device());
  amax_kernel(x.device(), rows, index);
  return index;
}

// Finds the places of the maxima, which carry no gradient, and takes the elements there, which do.
Tensor amax(const Tensor& x, int axis, bool keep_axis) {
  const Tensor index = first_maxima("amax", x, axis);
  const Tensor y = transpose(take_along(transpose(x, axis, -1), index), axis, -1);
  return keep_axis ? y : reshape(y, x.shape().without(axis));
}

namespace {

void amax_cpu(const Tensor& x, const Tensor& index) {
  const Tensor from = rows_form(x);
  visit_floating("amax", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(from);
    const auto out = rows_of<std::int32_t>(index);
    parallel_for(in.rows, grain_for(in.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* const row = in.row(r);
        std::int64_t place = 0;
        for (std::int64_t c = 1; c < in.cols; ++c) {
          const Value best = row[place], v = row[c];
          if (v > best || (v != v && best == best)) place = c;
        }
        out.row(r)[0] = static_cast<std::int32_t>(place);
      }
    });
  });
}

const bool on_cpu = amax_kernel.add(DeviceKind::cpu, amax_cpu);

Sample amax_sample(const std::string& name, const Shape& shape, int axis, bool keep_axis) {
  return {name,
          {random_tensor(shape, 35)},
          [=](std::span<const Tensor> in) { return std::vector{amax(in[0], axis, keep_axis)}; },
          [=](std::span<const Tensor> in) {
            const int a = (axis + in[0].rank()) % in[0].rank();
            const std::vector<double> x = in[0].values();
            const Shape with_one = in[0].shape().with(a, 1);
            std::vector<double> y(static_cast<std::size_t>(with_one.product()), -INFINITY);
            std::int64_t inner = 1;
            for (int i = in[0].rank() - 1; i > a; --i) inner *= in[0].size(i);
            for (std::size_t i = 0; i < x.size(); ++i) {
              const std::int64_t flat = static_cast<std::int64_t>(i);
              double& best = y[static_cast<std::size_t>(flat / (inner * in[0].size(a)) * inner + flat % inner)];
              best = std::max(best, x[i]);
            }
            return std::vector{Tensor::from_values(keep_axis ? with_one : with_one.without(a), y)};
          }};
}

const OpRegistration registration{{
    .name = "amax",
    .source = __FILE__,
    .signature = "amax(x, axis, keep_axis = false)",
    .summary = "the largest element along an axis; the gradient goes to the first of equal maxima",
    .samples =
        [] {
          return std::vector<Sample>{
              amax_sample("rows", {4, 16}, -1, false),     amax_sample("columns", {7, 5}, 0, true),
              amax_sample("middle", {3, 5, 7}, 1, false),  amax_sample("keep", {3, 5, 7}, 2, true),
              amax_sample("size one", {1, 1}, 0, false),   amax_sample("zero rows", {0, 4}, 1, false),
              amax_sample("long row", {2, 4133}, 1, true),
          };
        },
    .large = [] { return amax_sample("large", large_shape(), -1, false); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{
              {"axis", [] { amax(Tensor::zeros({2}, DType::float32), 1); },
               "amax: axis 1 is out of range for a tensor of 1 axes"},
              {"empty",
               [] {
                 amax(Tensor::zeros({2, 0}, DType::float32), 1);
               },
               "amax: axis 1 of shape [2, 0] is empty and has no maximum"},
              {"integers", [] { amax(Tensor::zeros({2}, DType::int32), 0); },
               "amax: expected x of a floating dtype, got int32"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
