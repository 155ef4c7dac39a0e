// The fused router of the sigma-MoE gives what its parts give, bit for bit.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/autograd.h"
#include "models/initialise.h"
#include "models/routing/router.h"
#include "ops/add_scalar.h"
#include "ops/dropout.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/route_top_k.h"
#include "ops/support/samples.h"
#include "ops/take_along.h"
#include "tensor_checks.h"

using namespace weir;
using namespace weir::routing;

namespace {

// Logits among which there is everything that selection could trip over.
Tensor awkward_logits(std::int64_t tokens, std::int64_t experts, bool finite) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> z = random_tensor({tokens, experts}, 51, -3, 3).values();
  const RandomStream random{52, 1, 1};
  const double odd[] = {0.0, -0.0, 1.5, 1.5, 60, -200, kNan, INFINITY, -INFINITY, 3e30, -3e30};
  for (std::size_t i = 0; i < z.size(); ++i)
    if (const std::uint32_t draw = random.bits(i) % 32; draw < (finite ? 6 : 11)) z[i] = odd[draw];
  for (std::size_t i = 0; i < static_cast<std::size_t>(finite ? 0 : experts); ++i) z[i] = kNan;
  return Tensor::from_values({tokens, experts}, z);
}

// Gates, indices and, for gates multiplied by `dgate`, the gradient of the logits, every zero a positive one.
template <class Route>
std::vector<Tensor> routed_with_gradient(const Tensor& logits, const Tensor& dgate, const Route& route) {
  const Tensor leaf = require_gradient(clone(logits));
  const Routing routing = route(leaf);
  backward(std::vector{routing.gate}, std::vector{dgate});
  return {routing.gate.detach(), routing.index, add_scalar(gradient(leaf), 0)};
}

}  // namespace

TEST_CASE("routing: the fused op gives the composed one's bits, ties, NaN and barred experts included") {
  const RandomStream random{8, 2, 6};
  for (const Device device : available_devices())
    for (const DType dtype : {DType::float64, DType::float32, DType::bf16})
      for (const double dropout : {0.0, 0.1, 0.8})
        for (const auto& [experts, k] : {std::pair{16, 4}, std::pair{7, 7}, std::pair{131, 8}, std::pair{70, 40}})
          for (const bool finite : {true, false}) {
            CAPTURE(device_name(device));
            CAPTURE(std::string(dtype_name(dtype)));
            CAPTURE(dropout);
            CAPTURE(experts);
            CAPTURE(finite);
            const Tensor logits = to_device(converted(awkward_logits(37, experts, finite), dtype), device);
            const Tensor dgate = to_device(converted(random_tensor({37, k}, 5), dtype), device);
            const auto fused = routed_with_gradient(
                logits, dgate, [&](const Tensor& z) { return route_top_k(z, k, dropout, random); });
            const auto composed = routed_with_gradient(
                logits, dgate, [&](const Tensor& z) { return route_top_k_composed(z, k, dropout, random); });
            for (std::size_t i = 0; i < fused.size(); ++i) CHECK(same_bits(fused[i], composed[i]));
          }
}

TEST_CASE("routing: a router gives what its selection and its gate give, fused or not") {
  struct Combination {
    const char *selection, *gate;
  };
  FeedforwardConfig config{.kind = "moe", .experts = 9, .expert_size = 5, .k = 6, .regulariser = "none"};
  for (const DType dtype : {DType::float64, DType::float32})
    for (const Combination& parts : {Combination{"top-k", "sigmoid"}, {"top-k", "softmax"}, {"sinkhorn", "sigmoid"}})
      for (const double dropout : {0.0, 0.4})
        for (const bool training : {true, false}) {
          CAPTURE(parts.selection);
          CAPTURE(parts.gate);
          CAPTURE(dropout);
          CAPTURE(training);
          const ForwardContext context{.training = training, .seed = 4, .step = 3};
          config.expert_dropout = dropout, config.selection = parts.selection, config.gate = parts.gate;
          ParameterSet parameters;
          const Router router(parameters, "ff", 2, 6, config, initialise::normal(1));
          parameters.allocate(dtype, 5);
          const Tensor weight = parameters.at("ff.router").value;
          const Tensor x = converted(random_tensor({40, 6}, 3), dtype),
                       dgate = converted(random_tensor({40, 6}, 4), dtype);
          const Routed routed = router(x, 1, context);
          backward(std::vector{routed.gate}, std::vector{dgate});

          const Tensor leaf = require_gradient(clone(weight.detach()));
          const Call call{context, 2, 1, 6};
          Scored scored{linear(x, leaf), {}};
          if (training && dropout > 0)
            scored.keep = keep_mask({40, 9}, dropout, call.random(RandomPlace::expert_mask), dtype);
          ParameterSet none;
          const auto choose = registry<Selection>().find(parts.selection)({none, "ff", {9, 6}, {}, config});
          const Tensor index = choose({scored.logits.detach(), scored.keep}, call).index;
          Tensor gate = registry<Gate>().find(parts.gate)(scored, index);
          if (scored.keep.defined()) gate = gate * take_along(scored.keep, index);
          backward(std::vector{gate}, std::vector{dgate});

          CHECK(same_bits(routed.index, index));
          CHECK(same_bits(routed.gate.detach(), gate.detach()));
          CHECK(same_bits(gradient(parameters.at("ff.router").value), gradient(leaf)));
        }
}
