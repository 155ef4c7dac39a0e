// weir bench attention: Transformer-XL's relative attention or causal attention, forward and backward.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <functional>
#include <span>

#include "autograd/autograd.h"
#include "core/kernel_cost.h"
#include "core/text.h"
#include "ops/causal_attention.h"
#include "ops/relative_attention.h"
#include "tools/weir/bench.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/roof.h"

namespace weir {
namespace {

struct Arguments {
  std::int64_t batch = 8, segment = 256, memory = 256, heads = 8, head_size = 64;
  bool causal = false;
  std::string dtype = "float32", device = "cpu";
  BenchOptions options;

  void visit(OptionVisitor& v) {
    size_option(v, "--batch N", batch, "sequences");
    size_option(v, "--segment N", segment, "queries of a sequence");
    v.option("--memory N", memory, {.min = 0, .max = 1 << 20}, "keys before the first query's own");
    size_option(v, "--heads N", heads, "heads");
    size_option(v, "--head-size N", head_size, "width of a head");
    v.flag("--causal", causal, "causal attention, which knows no positions, instead of relative attention");
    dtype_option(v, dtype);
    device_option(v, device);
    options.visit(v);
  }

  Device place() const { return device_from_name(device); }
};

// Forward alone, and with the gradients of `leaves`.
std::vector<BenchCase> measure(const Arguments& a, std::span<const Tensor> leaves,
                               const std::function<Tensor()>& attention) {
  const Tensor dy = random_normal(leaves[0].shape(), 1, leaves[0].dtype(), 0, a.place());
  const auto forward = [&] {
    const NoGradient guard;
    attention();
  };
  const auto forward_and_backward = [&] {
    for (const Tensor& t : leaves) clear_gradient(t);
    backward(std::vector{attention()}, std::vector{dy});
  };
  return {{.name = "forward", .timing = time_runs(a.options, forward, a.place()), .flops = cost_of(forward).flops},
          {.name = "forward and backward",
           .timing = time_runs(a.options, forward_and_backward, a.place()),
           .flops = cost_of(forward_and_backward).flops}};
}

std::vector<BenchCase> measure(const Arguments& a) {
  const DType dtype = dtype_from_name(a.dtype);
  const std::int64_t keys = a.segment + a.memory;
  std::uint32_t stream = 1;
  const auto leaf = [&](const Shape& shape, DType type) {
    return require_gradient(random_normal(shape, 1, type, stream++, a.place()));
  };
  const double factor = 1 / std::sqrt(static_cast<double>(a.head_size));
  const Tensor q = leaf({a.batch, a.segment, a.heads, a.head_size}, dtype);
  if (a.causal) {
    const Shape shape{a.batch, keys, a.heads, a.head_size};
    const Tensor k = leaf(shape, dtype), v = leaf(shape, dtype);
    return measure(a, std::array{q, k, v}, [&] { return causal_attention(q, k, v, factor); });
  }
  const Tensor kv = leaf({a.batch, keys, a.heads, 2, a.head_size}, dtype);
  const Tensor r = leaf({keys, a.heads, a.head_size}, dtype);
  const Tensor u = leaf({a.heads, a.head_size}, DType::float32), v = leaf({a.heads, a.head_size}, DType::float32);
  const Tensor scale = require_gradient(Tensor::full({1}, factor, DType::float32, a.place()));
  return measure(a, std::array{q, kv, r, u, v, scale}, [&] { return relative_attention(q, kv, r, u, v, scale); });
}

void run(const Arguments& a) {
  a.options.apply_threads();
  const std::vector<BenchCase> cases = measure(a);
  print_cases(
      a.options, cases, matrix_roof(dtype_from_name(a.dtype), a.place()),
      {{"batch", a.batch},
       {"segment", a.segment},
       {"memory", a.memory},
       {"heads", a.heads},
       {"head_size", a.head_size},
       {"causal", a.causal},
       {"dtype", a.dtype},
       {"device", a.device}},
      fmt::format("{}attention, {} x {} queries, memory {}, {} of {}, {}, {}", a.causal ? "causal " : "relative ",
                  a.batch, a.segment, a.memory, counted(a.heads, "head"), a.head_size, a.dtype, a.device));
  if (!a.options.json) print("GFLOP/s count the pairs of a query and a key that it sees\n");
}

}  // namespace

void add_bench_attention(CommandLine& line) {
  line.add<Arguments>("bench attention", "relative attention with a memory, or causal attention", run);
}

}  // namespace weir
