#include "ops/reshape.h"

#include "autograd/backward.h"
#include "ops/support/samples.h"

namespace weir {

Tensor reshape(const Tensor& x, const Shape& shape) {
  const Tensor y = reshaped(x.detach(), shape);
  Backward back("reshape", {x}, {y});
  back.input(0, [shape = x.shape()](const Tensor& dy) { return reshape(dy, shape); });
  return y;
}

namespace {

Sample reshape_sample(const std::string& name, const Shape& from, const Shape& to) {
  return {name,
          {random_tensor(from, 3)},
          [to](std::span<const Tensor> in) { return std::vector{reshape(in[0], to)}; },
          [to](std::span<const Tensor> in) { return std::vector{Tensor::from_values(to, in[0].values())}; }};
}

const OpRegistration registration{{
    .name = "reshape",
    .source = __FILE__,
    .signature = "reshape(x, shape)",
    .summary = "the same elements in row-major order under another shape; a view where memory allows",
    .samples =
        [] {
          return std::vector<Sample>{
              reshape_sample("split", {4, 10}, {4, 2, 5}), reshape_sample("merge", {3, 5, 7}, {15, 7}),
              reshape_sample("merge rows", {3, 5}, {15}),  reshape_sample("add ones", {3, 5}, {1, 3, 1, 5, 1}),
              reshape_sample("size one", {1, 1}, {}),      reshape_sample("zero rows", {0, 4}, {2, 0, 2}),
          };
        },
    .large =
        [] {
          return reshape_sample("large", large_shape(), {16384, 8, 128});
        },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"count",
                                         [] {
                                           reshape(Tensor::zeros({2, 3}, DType::float32), {5});
                                         },
                                         "reshape: shape [2, 3] has 6 elements, [5] has 5"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
