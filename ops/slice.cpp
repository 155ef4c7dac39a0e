#include "ops/slice.h"

#include "autograd/backward.h"
#include "ops/pad.h"
#include "ops/support/samples.h"

namespace weir {

Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end) {
  const Tensor y = slice_view(x.detach(), axis, begin, end);
  Backward back("slice", {x}, {y});
  back.input(0, [axis, begin, after = x.size(axis) - end](const Tensor& dy) { return pad(dy, axis, begin, after); });
  return y;
}

namespace {

Sample slice_sample(const std::string& name, const Shape& shape, int axis, std::int64_t begin, std::int64_t end) {
  return {name,
          {random_tensor(shape, 25)},
          [=](std::span<const Tensor> in) { return std::vector{slice(in[0], axis, begin, end)}; },
          [=](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values();
            std::vector<double> y;
            std::int64_t inner = 1;
            for (int a = in[0].rank() - 1; a > (axis + in[0].rank()) % in[0].rank(); --a) inner *= in[0].size(a);
            for (std::size_t i = 0; i < x.size(); ++i) {
              const std::int64_t along = static_cast<std::int64_t>(i) / inner % in[0].size(axis);
              if (along >= begin && along < end) y.push_back(x[i]);
            }
            return std::vector{Tensor::from_values(in[0].shape().with(axis, end - begin), y)};
          }};
}

const OpRegistration registration{{
    .name = "slice",
    .source = __FILE__,
    .signature = "slice(x, axis, begin, end)",
    .summary = "the elements whose index along the axis is in [begin, end); a view",
    .samples =
        [] {
          return std::vector<Sample>{
              slice_sample("rows", {5, 7}, 0, 1, 4),      slice_sample("columns", {5, 7}, -1, 2, 7),
              slice_sample("middle", {3, 5, 4}, 1, 0, 2), slice_sample("all", {3, 5}, 0, 0, 3),
              slice_sample("nothing", {3, 5}, 1, 2, 2),   slice_sample("size one", {1}, 0, 0, 1),
              slice_sample("zero rows", {0, 4}, 1, 1, 3),
          };
        },
    .large = [] { return slice_sample("large", large_shape(), 1, 0, 512); },
    .bad_samples =
        [] {
          const auto cut = [](int axis, std::int64_t begin, std::int64_t end) {
            return [=] { slice(Tensor::zeros({2, 3}, DType::float32), axis, begin, end); };
          };
          return std::vector<BadSample>{
              {"axis", cut(2, 0, 1), "slice: axis 2 is out of range for a tensor of 2 axes"},
              {"beyond", cut(1, 1, 4), "slice: [1, 4) is out of range for axis 1 of shape [2, 3]"},
              {"backwards", cut(1, 2, 1), "slice: [2, 1) is out of range for axis 1 of shape [2, 3]"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
