#include "ops/broadcast_to.h"

#include "autograd/backward.h"
#include "ops/sum.h"
#include "ops/support/samples.h"

namespace weir {

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  const Tensor y = broadcast_view(x.detach(), shape);
  Backward back("broadcast_to", {x}, {y});
  back.input(0, [shape = x.shape()](const Tensor& dy) { return sum_to_shape(dy, shape); });
  return y;
}

namespace {

Sample broadcast_sample(const std::string& name, const Shape& from, const Shape& to) {
  return {name,
          {random_tensor(from, 5)},
          [to](std::span<const Tensor> in) { return std::vector{broadcast_to(in[0], to)}; },
          [to](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values();
            std::vector<double> y(static_cast<std::size_t>(to.product()));
            for (std::size_t i = 0; i < y.size(); ++i) {
              std::int64_t rest = static_cast<std::int64_t>(i), place = 0, step = 1;
              for (int axis = 1; axis <= to.rank(); ++axis) {
                const std::int64_t extent = axis <= in[0].rank() ? in[0].size(-axis) : 1;
                place += extent == 1 ? 0 : rest % to[-axis] * step;
                step *= extent;
                rest /= to[-axis];
              }
              y[i] = x[static_cast<std::size_t>(place)];
            }
            return std::vector{Tensor::from_values(to, y)};
          }};
}

const OpRegistration registration{{
    .name = "broadcast_to",
    .source = __FILE__,
    .signature = "broadcast_to(x, shape)",
    .summary = "x stretched along axes of extent 1 and along added leading axes; a view",
    .samples =
        [] {
          return std::vector<Sample>{
              broadcast_sample("rows", {5}, {3, 5}),        broadcast_sample("columns", {3, 1}, {3, 7}),
              broadcast_sample("same", {2, 3}, {2, 3}),     broadcast_sample("scalar", {}, {2, 3}),
              broadcast_sample("size one", {1, 1}, {1, 1}), broadcast_sample("to zero", {1, 3}, {0, 3}),
              broadcast_sample("of zero", {0, 1}, {0, 4}),
          };
        },
    .large = [] { return broadcast_sample("large", {1024}, large_shape()); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"shrink",
                                         [] {
                                           broadcast_to(Tensor::zeros({2, 3}, DType::float32), {1, 3});
                                         },
                                         "broadcast_to: shape [2, 3] does not stretch to [1, 3]"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
