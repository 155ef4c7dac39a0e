// residual_layer_norm against the ops it is made of: which outputs are used and which inputs want a gradient.
#include <doctest/doctest.h>

#include "autograd/autograd.h"
#include "core/device.h"
#include "ops/dropout.h"
#include "ops/residual_layer_norm.h"
#include "ops/support/samples.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

namespace {

using Op = ResidualLayerNorm (*)(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double, double,
                                 const RandomStream&);

struct Call {
  DType activations, parameters;
  double p;
  bool use_sum, use_normed, need_x, need_branch;
};

struct Results {
  ResidualLayerNorm out;
  std::vector<Tensor> gradients;
};

// Rows of 37: their random numbers begin in the middle of a block.
Results run(Op op, const Call& call, Device device) {
  const auto input = [&](const Shape& shape, std::uint64_t seed, DType dtype) {
    return to_device(converted(random_tensor(shape, seed), dtype), device);
  };
  const Shape shape{5, 60, 37};
  const std::vector<Tensor> in{input(shape, 1, call.activations), input(shape, 2, call.activations),
                               input({37}, 3, call.parameters), input({37}, 4, call.parameters)};
  std::vector<Tensor> wanted, used, dys;
  if (call.need_x) wanted.push_back(require_gradient(in[0]));
  if (call.need_branch) wanted.push_back(require_gradient(in[1]));
  if (call.use_normed) wanted.insert(wanted.end(), {require_gradient(in[2]), require_gradient(in[3])});
  Results results{op(in[0], in[1], in[2], in[3], 1e-5, call.p, {11, 3, 7}), {}};
  if (call.use_sum) used.push_back(results.out.sum), dys.push_back(input(shape, 5, call.activations));
  if (call.use_normed) used.push_back(results.out.normed), dys.push_back(input(shape, 6, call.activations));
  results.gradients = gradients(used, wanted, dys);
  return results;
}

double scale_of(const Tensor& t) { return 1 + max_difference(t, Tensor::zeros_like(t)); }

}  // namespace

TEST_CASE("residual_layer_norm: as composed, whichever outputs are used") {
  struct Types {
    DType activations, parameters;
    double tolerance;
  };
  for (const Device device : available_devices())
    for (const auto& [activations, parameters, tolerance] : {Types{DType::float64, DType::float64, 1e-13},
                                                             {DType::float32, DType::float32, 2e-6},
                                                             {DType::bf16, DType::bf16, 1e-2},
                                                             {DType::bf16, DType::float32, 1e-2}})
      for (const double p : {0.0, 0.3})
        for (int which = 0; which < 9; ++which) {
          const Call call{activations, parameters, p, which % 3 != 1, which % 3 != 2, which < 6, which / 3 != 1};
          INFO(device_name(device), " / ", std::string(dtype_name(activations)), " beside ",
               std::string(dtype_name(parameters)), " / p ", p, " / ", which);
          const Results fused = run(residual_layer_norm, call, device);
          const Results composed = run(residual_layer_norm_composed, call, device);
          CHECK(same_bits(fused.out.sum, composed.out.sum));
          CHECK(same_bits(fused.out.normed, composed.out.normed));
          REQUIRE(fused.gradients.size() == composed.gradients.size());
          for (std::size_t i = 0; i < fused.gradients.size(); ++i) {
            CAPTURE(i);
            const Tensor &got = fused.gradients[i], &expected = composed.gradients[i];
            CHECK(got.dtype() == expected.dtype());
            CHECK(max_difference(got, expected) <= tolerance * scale_of(expected));
          }
        }
}

TEST_CASE("residual_layer_norm: the norm sees the sum as stored, and dropout its mask") {
  const Tensor x = random_tensor({9, 130}, 1), branch = random_tensor({9, 130}, 2);
  const Tensor one = Tensor::full({130}, 1, DType::float32), none = Tensor::zeros({130}, DType::float32);
  const RandomStream random{5, 6, 7};
  for (const Device device : available_devices()) {
    const auto there = [&](const Tensor& t, DType dtype) { return to_device(converted(t, dtype), device); };
    const Tensor a = there(x, DType::bf16), b = there(branch, DType::bf16), w = to_device(one, device),
                 zero = to_device(none, device);
    const auto [sum, normed] = residual_layer_norm(a, b, w, zero, 1e-5, 0.5, random);
    CHECK(same_bits(normed, layer_norm(sum, w, zero, 1e-5)));
    const auto got = sum.values(), base = a.values(), added = b.values();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const bool keep = random.uniform(i) >= 0.5f;
      kept += keep ? 1 : 0;
      const auto expected = static_cast<float>(base[i] + (keep ? 2 * added[i] : 0));
      CHECK(static_cast<float>(got[i]) == static_cast<float>(bf16(expected)));
    }
    CHECK(kept > got.size() / 3);
  }
}
