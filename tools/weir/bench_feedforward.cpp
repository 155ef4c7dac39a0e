// weir bench feedforward: the σ-MoE block beside a dense block with as many parameters, forward and backward.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/expert_feedforward.h"
#include "ops/linear.h"
#include "ops/route_top_k.h"
#include "tools/weir/bench.h"
#include "tools/weir/device_option.h"

namespace weir {
namespace {

struct Arguments {
  std::int64_t tokens = 2048, d_model = 512, experts = 16, expert_size = 128, k = 4;
  std::string dtype = "float32", device = "cpu";
  BenchOptions options;

  Device place() const { return device_from_name(device); }
  std::int64_t hidden() const { return experts * expert_size; }
  // Forward and backward of two products with `hidden_used` hidden units per token, without the router.
  double flops(std::int64_t hidden_used) const {
    return 12.0 * static_cast<double>(tokens) * static_cast<double>(d_model) * static_cast<double>(hidden_used);
  }
};

struct Case {
  const char* name;
  Timing timing;
  double gflops;
};

Tensor leaf(const Arguments& a, const Shape& shape, std::int64_t fan_in, DType dtype, std::uint32_t stream) {
  return require_gradient(random_normal(shape, 1 / std::sqrt(static_cast<double>(fan_in)), dtype, stream, a.place()));
}

// Times block() and the gradients of all leaves. As in training, parameters are float32 whatever the activations are.
Timing time_block(const Arguments& a, std::span<const Tensor> leaves, const std::function<Tensor()>& block) {
  const Tensor dy = random_normal({a.tokens, a.d_model}, 1, dtype_from_name(a.dtype), 0, a.place());
  const auto forward_and_backward = [&] {
    for (const Tensor& t : leaves) clear_gradient(t);
    backward(std::vector{block()}, std::vector{dy});
  };
  return time_runs(a.options.runs, kWarmUp, forward_and_backward, a.place());
}

Case time_dense(const Arguments& a) {
  const Tensor x = leaf(a, {a.tokens, a.d_model}, 1, dtype_from_name(a.dtype), 1);
  const Tensor w1 = leaf(a, {a.hidden(), a.d_model}, a.d_model, DType::float32, 2);
  const Tensor w2 = leaf(a, {a.d_model, a.hidden()}, a.hidden(), DType::float32, 3);
  const Timing timing =
      time_block(a, std::vector{x, w1, w2}, [&] { return linear(linear(x, w1, {}, Activation::relu), w2); });
  return {"dense", timing, a.flops(a.hidden()) / timing.seconds / 1e9};
}

Case time_sigma_moe(const Arguments& a) {
  const Tensor x = leaf(a, {a.tokens, a.d_model}, 1, dtype_from_name(a.dtype), 1);
  const Tensor router = leaf(a, {a.experts, a.d_model}, a.d_model, DType::float32, 2);
  const Tensor w1 = leaf(a, {a.experts, a.d_model, a.expert_size}, a.d_model, DType::float32, 3);
  const Tensor w2 = leaf(a, {a.experts, a.expert_size, a.d_model}, a.hidden(), DType::float32, 4);
  const Timing timing = time_block(a, std::vector{x, router, w1, w2}, [&] {
    const Tensor logits = linear(cast(x, DType::float32), router);  // [tokens, experts]
    const Routing routing = route_top_k(logits, a.k);
    return expert_feedforward(x, routing.gate, routing.index, w1, w2);
  });
  return {"sigma-moe", timing, a.flops(a.k * a.expert_size) / timing.seconds / 1e9};
}

void print_json(const Arguments& a, const Case& c) {
  const nlohmann::json object = {{"case", c.name},        {"seconds", c.timing.seconds},  {"spread", c.timing.spread},
                                 {"gflops", c.gflops},    {"tokens", a.tokens},           {"d_model", a.d_model},
                                 {"experts", a.experts},  {"expert_size", a.expert_size}, {"k", a.k},
                                 {"dtype", a.dtype},      {"device", a.device},           {"threads", thread_count()},
                                 {"runs", a.options.runs}};
  fmt::print("{}\n", object.dump());
}

void print_table(const Arguments& a, const Case& dense, const Case& moe) {
  fmt::print("forward and backward of {} tokens, d_model {}, {} experts of {}, k {}, {}, {}, {} threads\n\n", a.tokens,
             a.d_model, a.experts, a.expert_size, a.k, a.dtype, a.device, thread_count());
  fmt::print("{:<10} {:>10} {:>8} {:>9}\n", "case", "seconds", "spread", "GFLOP/s");
  for (const Case& c : {dense, moe})
    fmt::print("{:<10} {:>10.6f} {:>7.1f}% {:>9.1f}\n", c.name, c.timing.seconds, 100 * c.timing.spread, c.gflops);
  fmt::print("\nsigma-moe is {:.2f} times as fast as dense, with {:.2f} times less arithmetic\n",
             dense.timing.seconds / moe.timing.seconds, static_cast<double>(a.experts) / static_cast<double>(a.k));
}

void run(const Arguments& a) {
  if (a.k > a.experts)
    throw ArgumentError(
        fmt::format("bench feedforward: --k {} asks for more experts per token than there are; give "
                    "--experts {} or more, or a --k of at most {}",
                    a.k, a.k, a.experts));
  if (a.options.threads > 0) set_thread_count(static_cast<int>(a.options.threads));
  const Case dense = time_dense(a), moe = time_sigma_moe(a);
  if (!a.options.json) return print_table(a, dense, moe);
  print_json(a, dense);
  print_json(a, moe);
}

}  // namespace

void add_bench_feedforward(CLI::App& bench) {
  CLI::App* const command =
      bench.add_subcommand("feedforward", "a sigma-MoE block and a dense block with as many parameters");
  const auto arguments = std::make_shared<Arguments>();
  add_size(*command, "--tokens", arguments->tokens, "rows of the input");
  add_size(*command, "--d-model", arguments->d_model, "width of the input and the output");
  add_size(*command, "--experts", arguments->experts,
           "experts; the dense block has experts x expert-size hidden units");
  add_size(*command, "--expert-size", arguments->expert_size, "hidden units per expert");
  add_size(*command, "--k", arguments->k, "experts that each token uses");
  add_dtype(*command, arguments->dtype);
  add_device_option(*command, arguments->device);
  arguments->options.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace weir
