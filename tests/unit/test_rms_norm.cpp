// rms_norm against the ops it is made of, and where those would overflow.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "autograd/autograd.h"
#include "autograd/grad_check.h"
#include "core/device.h"
#include "ops/rms_norm.h"
#include "ops/support/samples.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

namespace {

// y, dx, dweight
std::vector<Tensor> output_and_gradients(Tensor (*op)(const Tensor&, const Tensor&, double), const Tensor& x,
                                         const Tensor& weight, const Tensor& dy, double eps) {
  const std::vector<Tensor> leaves{require_gradient(x.detach()), require_gradient(weight.detach())};
  std::vector<Tensor> results{op(leaves[0], leaves[1], eps)};
  for (Tensor& gradient : gradients(results, leaves, std::vector{dy})) results.push_back(std::move(gradient));
  return results;
}

double scale_of(const Tensor& t) { return std::max(1.0, max_difference(t, Tensor::zeros_like(t))); }

struct Types {
  DType activations, parameters;
  double tolerance;
};

const std::vector<Types>& all_types() {
  static const std::vector<Types> types{{DType::float64, DType::float64, 1e-13},
                                        {DType::float32, DType::float32, 2e-6},
                                        {DType::bf16, DType::float32, 1e-2},
                                        {DType::bf16, DType::bf16, 3e-2}};
  return types;
}

}  // namespace

TEST_CASE("rms_norm: as composed, with all gradients, whichever team of threads has the rows") {
  for (const Device device : available_devices())
    for (const auto& [activations, parameters, tolerance] : all_types())
      for (const std::int64_t width : {7, 96, 700, 3001}) {
        INFO(width, ", ", std::string(dtype_name(activations)), " beside ", std::string(dtype_name(parameters)), ", ",
             device_name(device));
        const auto input = [&](const Shape& shape, std::uint64_t seed, DType dtype) {
          return to_device(converted(random_tensor(shape, seed), dtype), device);
        };
        const Tensor x = input({2, 20, width}, 1, activations), w = input({width}, 2, parameters),
                     dy = input({2, 20, width}, 3, activations);
        const auto fused = output_and_gradients(rms_norm, x, w, dy, 1e-5);
        const auto composed = output_and_gradients(rms_norm_composed, x, w, dy, 1e-5);
        for (std::size_t i = 0; i < fused.size(); ++i) {
          CAPTURE(i);
          CHECK(fused[i].dtype() == composed[i].dtype());
          CHECK(max_difference(fused[i], composed[i]) <= tolerance * scale_of(composed[i]));
        }
      }
}

TEST_CASE("rms_norm: the composed form is twice differentiable") {
  const auto composed = [](std::span<const Tensor> in) { return std::vector{rms_norm_composed(in[0], in[1])}; };
  const std::vector<Tensor> inputs{random_tensor({3, 7}, 1), random_tensor({7}, 2)};
  CHECK(grad_check(composed, inputs, {.second_order = true}) == "");
}

// The norm does not change where a row and the root of eps are multiplied by one number, and neither does dweight; dx
// is divided by it.
TEST_CASE("rms_norm: rows out of the range of squares are as precise as others") {
  struct Factor {
    double factor, eps;
    bool float64_only = false;
  };
  for (const Device device : available_devices())
    for (const auto& [activations, parameters, tolerance] : all_types())
      for (const auto& [factor, eps, float64_only] : {Factor{0x1p100, 0},
                                                      {0x1p126, 0},
                                                      {0x1p-80, 0},
                                                      {0x1p-60, 0x1p-130},
                                                      {0x1p900, 0, true},
                                                      {0x1p-900, 0, true}})
        for (const std::int64_t width : {7, 700, 3001}) {
          if (float64_only && activations != DType::float64) continue;
          INFO(width, ", ", std::string(dtype_name(activations)), ", factor ", factor, ", ", device_name(device));
          const auto input = [&](const Shape& shape, std::uint64_t seed, DType dtype, double times) {
            std::vector<double> values = converted(random_tensor(shape, seed), dtype).values();
            for (double& v : values) v *= times;
            return Tensor::from_values(shape, values, dtype, device);
          };
          const Tensor w = input({width}, 2, parameters, 1), dy = input({3, width}, 3, activations, 1);
          const auto usual =
              output_and_gradients(rms_norm, input({3, width}, 1, activations, 1), w, dy, eps / factor / factor);
          const auto scaled = output_and_gradients(rms_norm, input({3, width}, 1, activations, factor), w, dy, eps);
          CHECK(max_difference(scaled[0], usual[0]) <= tolerance * scale_of(usual[0]));
          CHECK(max_difference(scaled[2], usual[2]) <= tolerance * scale_of(usual[2]));
          std::vector<double> dx = scaled[1].values();
          for (double& v : dx) v *= factor;
          CHECK(max_difference(Tensor::from_values({3, width}, dx), usual[1]) <= tolerance * scale_of(usual[1]));
        }
}

TEST_CASE("rms_norm: a row of zeros stays one, and infinities and NaN stay in their rows") {
  for (const Device device : available_devices()) {
    const Tensor one = Tensor::full({33}, 1, DType::float32, device);
    for (const double eps : {1e-5, 0.0}) {
      const Tensor zeros = Tensor::zeros({2, 33}, DType::float32, device);
      CHECK(rms_norm(zeros, one, eps).values() == zeros.values());
    }
    std::vector<double> x = random_tensor({2, 33}, 1).values();
    x[5] = NAN;
    const std::vector<double> y = rms_norm(Tensor::from_values({2, 33}, x, DType::float32, device), one).values();
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i < 33));
    x[5] = INFINITY;
    const std::vector<double> z = rms_norm(Tensor::from_values({2, 33}, x, DType::float32, device), one).values();
    for (std::size_t i = 0; i < z.size(); ++i)
      CHECK((i == 5 ? std::isnan(z[i]) : i < 33 ? z[i] == 0 : std::isfinite(z[i]) && z[i] != 0));
  }
}
