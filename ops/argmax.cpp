#include "ops/argmax.h"

#include "ops/amax.h"
#include "ops/support/samples.h"

namespace weir {

// amax looks for these places on its way, so its kernel serves both.
Tensor argmax(const Tensor& x, int axis, bool keep_axis) {
  const Tensor index = transpose_view(first_maxima("argmax", x, axis), axis, -1);
  return keep_axis ? index : reshaped(index, x.shape().without(axis));
}

namespace {

Sample argmax_sample(const std::string& name, const Tensor& x, int axis, bool keep_axis) {
  return {name,
          {x},
          [=](std::span<const Tensor> in) { return std::vector{argmax(in[0], axis, keep_axis)}; },
          [=](std::span<const Tensor> in) {
            const int a = (axis + in[0].rank()) % in[0].rank();
            const std::vector<double> values = in[0].values();
            std::int64_t outer = 1, inner = 1;
            for (int i = 0; i < a; ++i) outer *= in[0].size(i);
            for (int i = a + 1; i < in[0].rank(); ++i) inner *= in[0].size(i);
            std::vector<double> places;
            for (std::int64_t o = 0; o < outer; ++o)
              for (std::int64_t i = 0; i < inner; ++i) {
                const auto at = [&](std::int64_t e) {
                  return values[static_cast<std::size_t>((o * in[0].size(a) + e) * inner + i)];
                };
                std::int64_t best = in[0].size(a) - 1;  // from the end, so that the first of equals is met last
                for (std::int64_t e = best - 1; e >= 0; --e)
                  if (at(e) >= at(best)) best = e;
                places.push_back(static_cast<double>(best));
              }
            const Shape with_one = in[0].shape().with(a, 1);
            return std::vector{Tensor::from_values(keep_axis ? with_one : with_one.without(a), places)};
          }};
}

const OpRegistration registration{{
    .name = "argmax",
    .source = __FILE__,
    .signature = "argmax(x, axis, keep_axis = false)",
    .summary = "the place of the largest element along an axis, the first of equal ones; NaN is the largest of all",
    .samples =
        [] {
          return std::vector<Sample>{
              argmax_sample("rows", random_tensor({4, 16}, 36), -1, false),
              argmax_sample("columns", random_tensor({7, 5}, 36), 0, true),
              argmax_sample("middle", random_tensor({3, 5, 7}, 36), 1, false),
              argmax_sample("keep", random_tensor({3, 5, 7}, 36), 2, true),
              argmax_sample("ties", random_on_grid({9, 75}, 36, 0), 1, false),
              argmax_sample("all equal", Tensor::zeros({3, 33}, DType::float64), 1, false),
              argmax_sample("size one", random_tensor({1, 1}, 36), 0, false),
              argmax_sample("zero rows", random_tensor({0, 4}, 36), 1, false),
              argmax_sample("long row", random_tensor({2, 4133}, 36), 1, true),
          };
        },
    .large = [] { return argmax_sample("large", random_tensor(large_shape(), 36), -1, false); },
    .bad_samples =
        [] {
          const auto call = [](const Shape& shape, DType dtype, int axis) {
            return [=] { argmax(Tensor::zeros(shape, dtype), axis); };
          };
          return std::vector<BadSample>{
              {"axis", call({2}, DType::float32, 1), "argmax: axis 1 is out of range for a tensor of 1 axes"},
              {"empty", call({2, 0}, DType::float32, 1), "argmax: axis 1 of shape [2, 0] is empty and has no maximum"},
              {"integers", call({2}, DType::int32, 0), "argmax: expected x of a floating dtype, got int32"},
          };
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
