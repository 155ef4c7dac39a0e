#include "ops/permute.h"

#include <utility>
#include <vector>

#include "autograd/backward.h"
#include "ops/support/samples.h"

namespace weir {

Tensor permute(const Tensor& x, std::span<const int> axes) {
  const Tensor y = permute_view(x.detach(), axes);
  std::vector<int> inverse(axes.size());
  for (std::size_t i = 0; i < axes.size(); ++i)
    inverse[static_cast<std::size_t>(normalise_axis("permute", axes[i], x.rank()))] = static_cast<int>(i);
  Backward back("permute", {x}, {y});
  back.input(0, [inverse](const Tensor& dy) { return permute(dy, inverse); });
  return y;
}

Tensor transpose(const Tensor& x, int a, int b) {
  const Tensor y = transpose_view(x.detach(), a, b);
  Backward back("transpose", {x}, {y});
  back.input(0, [a, b](const Tensor& dy) { return transpose(dy, a, b); });
  return y;
}

namespace {

// Walks the elements of `x` in order and puts each where its permuted index says; `axes` count from the front.
Tensor permuted_slowly(const Tensor& x, const std::vector<int>& axes) {
  const std::vector<double> from = x.values();
  std::vector<double> to(from.size());
  Shape shape;
  for (int axis : axes) shape.push_back(x.size(axis));
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::vector<std::int64_t> index(axes.size());
    auto rest = static_cast<std::int64_t>(i);
    for (int a = x.rank() - 1; a >= 0; rest /= x.size(a--)) index[static_cast<std::size_t>(a)] = rest % x.size(a);
    std::int64_t place = 0;
    for (int axis : axes) place = place * x.size(axis) + index[static_cast<std::size_t>(axis)];
    to[static_cast<std::size_t>(place)] = from[i];
  }
  return Tensor::from_values(shape, to);
}

Sample permute_sample(const std::string& name, const Shape& shape, std::vector<int> named,
                      const std::vector<int>& from_front) {
  return {name,
          {random_tensor(shape, 23)},
          [named](std::span<const Tensor> in) { return std::vector{permute(in[0], named)}; },
          [from_front](std::span<const Tensor> in) { return std::vector{permuted_slowly(in[0], from_front)}; }};
}

Sample transpose_sample(const std::string& name, const Shape& shape, int a, int b, const std::vector<int>& from_front) {
  return {name,
          {random_tensor(shape, 24)},
          [a, b](std::span<const Tensor> in) { return std::vector{transpose(in[0], a, b)}; },
          [from_front](std::span<const Tensor> in) { return std::vector{permuted_slowly(in[0], from_front)}; }};
}

const OpRegistration registration{{
    .name = "permute",
    .source = __FILE__,
    .signature = "permute(x, axes), transpose(x, a, b)",
    .summary = "the axes in another order; a view",
    .samples =
        [] {
          return std::vector<Sample>{
              permute_sample("rotate", {3, 4, 5}, {1, 2, 0}, {1, 2, 0}),
              permute_sample("from the end", {2, 3, 4, 5}, {0, -2, 1, -1}, {0, 2, 1, 3}),
              permute_sample("identity", {3, 5}, {0, 1}, {0, 1}),
              permute_sample("size one", {1, 1}, {1, 0}, {1, 0}),
              permute_sample("zero rows", {0, 4}, {1, 0}, {1, 0}),
              permute_sample("rank 0", {}, {}, {}),
              transpose_sample("transpose", {3, 7}, 0, 1, {1, 0}),
              transpose_sample("transpose heads", {2, 3, 4, 5}, 1, -2, {0, 2, 1, 3}),
          };
        },
    .large =
        [] {
          return permute_sample("large", {16, 512, 8, 128}, {0, 2, 1, 3}, {0, 2, 1, 3});
        },
    .bad_samples =
        [] {
          const auto permuted = [](std::vector<int> axes) {
            return [axes] { permute(Tensor::zeros({2, 3}, DType::float32), axes); };
          };
          return std::vector<BadSample>{
              {"count", permuted({0}), "permute: 1 axes named for shape [2, 3]"},
              {"range", permuted({0, 2}), "permute: axis 2 is out of range for a tensor of 2 axes"},
              {"twice", permuted({1, -1}), "permute: axis -1 is named twice"},
              {"transpose",
               [] {
                 transpose(Tensor::zeros({2, 3}, DType::float32), 0, 2);
               },
               "transpose: axis 2 is out of range for a tensor of 2 axes"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
