#include "ops/cast.h"

#include <fmt/format.h>

#include <cmath>

#include "autograd/backward.h"
#include "ops/support/samples.h"

namespace weir {

Tensor cast(const Tensor& x, DType dtype) {
  if (!is_floating(dtype))
    throw ArgumentError(
        fmt::format("cast: expected float64, float32 or bf16 as the target dtype, got {}", dtype_name(dtype)));
  if (x.dtype() == dtype) return x;
  const Tensor y = converted(x.detach(), dtype);
  Backward back("cast", {x}, {y});
  back.input(0, [from = x.dtype()](const Tensor& dy) { return cast(dy, from); });
  return y;
}

namespace {

// The nearest number with `bits` significant bits, ties to even.
double rounded(double v, int bits) {
  int exponent = 0;
  const double fraction = std::frexp(v, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, bits)), exponent - bits);
}

// To float64, which finite differences can follow; the narrow dtypes and the integers beside it carry no gradient.
Sample cast_sample(const std::string& name, const Shape& shape) {
  return {name,
          {random_tensor(shape, 21), random_indices(shape, 22, 100)},
          [](std::span<const Tensor> in) {
            const Tensor x = in[0].detach();
            return std::vector{cast(in[0], DType::float64), cast(x, DType::float32), cast(x, DType::bf16),
                               cast(in[1], DType::float32)};
          },
          [](std::span<const Tensor> in) {
            std::vector<double> x = in[0].values(), as_float = x, as_bf16 = x;
            for (double& v : as_float) v = rounded(v, 24);
            for (double& v : as_bf16) v = rounded(v, 8);
            return std::vector{in[0], Tensor::from_values(in[0].shape(), as_float),
                               Tensor::from_values(in[0].shape(), as_bf16),
                               Tensor::from_values(in[1].shape(), in[1].values())};
          }};
}

const OpRegistration registration{{
    .name = "cast",
    .source = __FILE__,
    .signature = "cast(x, dtype)",
    .summary = "x in another floating dtype, rounded to nearest even",
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const auto& [name, shape] : sample_shapes()) samples.push_back(cast_sample(name, shape));
          return samples;
        },
    .large = [] { return cast_sample("large", large_shape()); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"to integers", [] { cast(Tensor::zeros({2}, DType::float32), DType::int32); },
                                         "cast: expected float64, float32 or bf16 as the target dtype, got int32"}};
        },
    .tolerance = {.float64 = 0, .float32 = 0, .bf16 = 0},
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
