#include "ops/pad.h"

#include <fmt/format.h>

#include "autograd/backward.h"
#include "ops/slice.h"
#include "ops/support/samples.h"

namespace weir {

Tensor pad(const Tensor& x, int axis, std::int64_t before, std::int64_t after) {
  axis = normalise_axis("pad", axis, x.rank());
  if (before < 0 || after < 0)
    throw ArgumentError(fmt::format("pad: expected counts of at least 0, got {} before and {} after", before, after));
  const std::int64_t end = before + x.size(axis);
  const Shape shape = x.shape().with(axis, end + after);
  check_extents("pad", shape);
  const Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  if (before > 0) fill(slice_view(y, axis, 0, before), 0);
  copy_into(x, slice_view(y, axis, before, end));
  if (after > 0) fill(slice_view(y, axis, end, end + after), 0);
  Backward back("pad", {x}, {y});
  back.input(0, [axis, before, end](const Tensor& dy) { return slice(dy, axis, before, end); });
  return y;
}

namespace {

Sample pad_sample(const std::string& name, const Shape& shape, int axis, std::int64_t before, std::int64_t after) {
  return {name,
          {random_tensor(shape, 26)},
          [=](std::span<const Tensor> in) { return std::vector{pad(in[0], axis, before, after)}; },
          [=](std::span<const Tensor> in) {
            const std::int64_t extent = in[0].size(axis), padded = before + extent + after;
            const Shape to = in[0].shape().with(axis, padded);
            const std::vector<double> x = in[0].values();
            std::vector<double> y(static_cast<std::size_t>(to.product()));
            std::int64_t inner = 1;
            for (int a = to.rank() - 1; a > (axis + to.rank()) % to.rank(); --a) inner *= to[a];
            std::size_t next = 0;
            for (std::size_t i = 0; i < y.size(); ++i) {
              const std::int64_t along = static_cast<std::int64_t>(i) / inner % padded;
              if (along >= before && along < before + extent) y[i] = x[next++];
            }
            return std::vector{Tensor::from_values(to, y)};
          }};
}

const OpRegistration registration{{
    .name = "pad",
    .source = __FILE__,
    .signature = "pad(x, axis, before, after)",
    .summary = "x with zeros ahead of and behind it along an axis",
    .samples =
        [] {
          return std::vector<Sample>{
              pad_sample("rows", {3, 5}, 0, 1, 2),         pad_sample("columns", {3, 5}, -1, 2, 1),
              pad_sample("middle", {3, 2, 4}, 1, 0, 3),    pad_sample("nothing", {3, 5}, 1, 0, 0),
              pad_sample("size one", {1, 1}, 1, 1, 1),     pad_sample("zero rows", {0, 4}, 0, 1, 1),
              pad_sample("zero columns", {3, 0}, 0, 1, 0),
          };
        },
    .large = [] { return pad_sample("large", large_shape(), 1, 0, 64); },
    .bad_samples =
        [] {
          const auto padded = [](int axis, std::int64_t before, std::int64_t after) {
            return [=] { pad(Tensor::zeros({2, 3}, DType::float32), axis, before, after); };
          };
          return std::vector<BadSample>{
              {"axis", padded(2, 0, 1), "pad: axis 2 is out of range for a tensor of 2 axes"},
              {"negative", padded(1, -1, 0), "pad: expected counts of at least 0, got -1 before and 0 after"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
