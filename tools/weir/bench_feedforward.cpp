// weir bench feedforward: the σ-MoE block beside a dense block with as many parameters, forward and backward.
#include <fmt/format.h>

#include <cmath>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/kernel_cost.h"
#include "core/text.h"
#include "ops/cast.h"
#include "ops/expert_feedforward.h"
#include "ops/linear.h"
#include "ops/route_top_k.h"
#include "tools/weir/bench.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/roof.h"

namespace weir {
namespace {

struct Arguments {
  std::int64_t tokens = 2048, d_model = 512, experts = 16, expert_size = 128, k = 4;
  std::string dtype = "float32", device = "cpu";
  BenchOptions options;

  void visit(OptionVisitor& v) {
    size_option(v, "--tokens N", tokens, "rows of the input");
    size_option(v, "--d-model N", d_model, "width of the input and the output");
    size_option(v, "--experts N", experts, "experts; the dense block has experts x expert-size hidden units");
    size_option(v, "--expert-size N", expert_size, "hidden units per expert");
    size_option(v, "--k N", k, "experts that each token uses");
    dtype_option(v, dtype);
    device_option(v, device);
    options.visit(v);
  }

  Device place() const { return device_from_name(device); }
  std::int64_t hidden() const { return experts * expert_size; }
};

Tensor leaf(const Arguments& a, const Shape& shape, std::int64_t fan_in, DType dtype, std::uint32_t stream) {
  return require_gradient(random_normal(shape, 1 / std::sqrt(static_cast<double>(fan_in)), dtype, stream, a.place()));
}

// Times block() and the gradients of all leaves. As in training, parameters are float32 whatever the activations are.
BenchCase time_block(const Arguments& a, const std::string& name, std::span<const Tensor> leaves,
                     const std::function<Tensor()>& block) {
  const Tensor dy = random_normal({a.tokens, a.d_model}, 1, dtype_from_name(a.dtype), 0, a.place());
  const auto forward_and_backward = [&] {
    for (const Tensor& t : leaves) clear_gradient(t);
    backward(std::vector{block()}, std::vector{dy});
  };
  return {.name = name,
          .timing = time_runs(a.options, forward_and_backward, a.place()),
          .flops = cost_of(forward_and_backward).flops};
}

BenchCase time_dense(const Arguments& a) {
  const Tensor x = leaf(a, {a.tokens, a.d_model}, 1, dtype_from_name(a.dtype), 1);
  const Tensor w1 = leaf(a, {a.hidden(), a.d_model}, a.d_model, DType::float32, 2);
  const Tensor w2 = leaf(a, {a.d_model, a.hidden()}, a.hidden(), DType::float32, 3);
  return time_block(a, "dense", std::vector{x, w1, w2},
                    [&] { return linear(linear(x, w1, {}, Activation::relu), w2); });
}

BenchCase time_sigma_moe(const Arguments& a) {
  const Tensor x = leaf(a, {a.tokens, a.d_model}, 1, dtype_from_name(a.dtype), 1);
  const Tensor router = leaf(a, {a.experts, a.d_model}, a.d_model, DType::float32, 2);
  const Tensor w1 = leaf(a, {a.experts, a.d_model, a.expert_size}, a.d_model, DType::float32, 3);
  const Tensor w2 = leaf(a, {a.experts, a.expert_size, a.d_model}, a.hidden(), DType::float32, 4);
  return time_block(a, "sigma-moe", std::vector{x, router, w1, w2}, [&] {
    const Tensor logits = linear(cast(x, DType::float32), router);  // [tokens, experts]
    const Routing routing = route_top_k(logits, a.k);
    return expert_feedforward(x, routing.gate, routing.index, w1, w2);
  });
}

void run(const Arguments& a) {
  if (a.k > a.experts)
    throw ArgumentError(
        fmt::format("bench feedforward: --k {} asks for more experts per token than there are; give "
                    "--experts {} or more, or a --k of at most {}",
                    a.k, a.k, a.experts));
  a.options.apply_threads();
  const std::vector<BenchCase> cases{time_dense(a), time_sigma_moe(a)};
  print_cases(a.options, cases, matrix_roof(dtype_from_name(a.dtype), a.place()),
              {{"tokens", a.tokens},
               {"d_model", a.d_model},
               {"experts", a.experts},
               {"expert_size", a.expert_size},
               {"k", a.k},
               {"dtype", a.dtype},
               {"device", a.device}},
              fmt::format("forward and backward of {}, d_model {}, {} of {}, k {}, {}, {}", counted(a.tokens, "token"),
                          a.d_model, counted(a.experts, "expert"), a.expert_size, a.k, a.dtype, a.device));
  if (!a.options.json)
    print("sigma-moe is {:.2f} times as fast as dense, with {:.2f} times less arithmetic\n",
          cases[0].timing.seconds / cases[1].timing.seconds, static_cast<double>(a.experts) / static_cast<double>(a.k));
}

}  // namespace

void add_bench_feedforward(CommandLine& line) {
  line.add<Arguments>("bench feedforward", "a sigma-MoE block and a dense block with as many parameters", run);
}

}  // namespace weir
