// weir bench pkm: a product-key memory forward and backward, and its gather-sum against what memory can be read at.
#include <fmt/format.h>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/kernel_cost.h"
#include "core/text.h"
#include "models/feedforward.h"
#include "ops/gather_sum.h"
#include "ops/product_key_search.h"
#include "ops/random_integers.h"
#include "tools/weir/bench.h"
#include "tools/weir/common_options.h"
#include "tools/weir/roof.h"

namespace weir {
namespace {

struct Arguments {
  std::int64_t tokens = 512, d_model = 512, sub_keys = 1024, heads = 4, k = 32;
  std::string activation = "relu", dtype = "float32", device = "cpu";
  BenchOptions options;

  void visit(OptionVisitor& v) {
    size_option(v, "--tokens N", tokens, "rows of the input");
    size_option(v, "--d-model N", d_model, "width of the input and the output");
    v.option("--sub-keys N", sub_keys, {.min = 1, .max = 46340},
             "sub-keys of each half; their square is the number of values");
    size_option(v, "--heads N", heads, "heads, each with its own sub-keys");
    size_option(v, "--k N", k, "values that each head takes per token");
    v.option("--activation NAME", activation, {"relu", "softmax"}, "of the scores");
    dtype_option(v, dtype);
    device_option(v, device);
    options.visit(v);
  }

  Device place() const { return device_from_name(device); }
  double token_count() const { return static_cast<double>(tokens); }
};

// Rows drawn at random, as many as the memory's selections.
BenchCase time_gather_sum(const Arguments& a, const Tensor& table) {
  const Tensor weight = random_normal({a.tokens, a.heads * a.k}, 1, dtype_from_name(a.dtype), 1, a.place());
  const Tensor index = random_integers(weight.shape(), table.size(0), {.seed = 1, .stream = 2}, a.place());
  const NoGradient guard;
  const auto gather = [&] { gather_sum(weight, index, table); };
  return {.name = "gather-sum",
          .timing = time_runs(a.options, gather, a.place()),
          .bytes = cost_of(gather).bytes,
          .tokens = a.token_count()};
}

BenchCase time_search(const Arguments& a) {
  const DType dtype = dtype_from_name(a.dtype);
  const Tensor left = random_normal({a.tokens, a.heads, a.sub_keys}, 1, dtype, 3, a.place());
  const Tensor right = random_normal({a.tokens, a.heads, a.sub_keys}, 1, dtype, 4, a.place());
  const NoGradient guard;
  const auto search = [&] { product_key_search(left, right, a.k); };
  return {.name = "search",
          .timing = time_runs(a.options, search, a.place()),
          .bytes = cost_of(search).bytes,
          .tokens = a.token_count()};
}

// As in training, the gradients of the parameters are added to what is there.
BenchCase time_block(const Arguments& a, const Feedforward& block, bool with_backward) {
  const DType dtype = dtype_from_name(a.dtype);
  const Tensor x = require_gradient(random_normal({1, a.tokens, a.d_model}, 1, dtype, 5, a.place()));
  const Tensor dy = random_normal({1, a.tokens, a.d_model}, 1, dtype, 6, a.place());
  const auto step = [&] {
    const GradientMode mode(with_backward);
    const Tensor y = block(x, {.training = true}).y;
    clear_gradient(x);
    if (with_backward) backward(std::span(&y, 1), std::span(&dy, 1));
  };
  return {.name = with_backward ? "forward and backward" : "forward",
          .timing = time_runs(a.options, step, a.place()),
          .tokens = a.token_count()};
}

void run(const Arguments& a) {
  if (a.d_model % 2 != 0)
    throw ArgumentError(
        fmt::format("bench pkm: --d-model {} is odd, and the memory cuts its input into two equal "
                    "halves; give an even one",
                    a.d_model));
  if (a.k >= a.sub_keys)
    throw ArgumentError(
        fmt::format("bench pkm: with --k {} and --sub-keys {} nothing is selected; give a --k below "
                    "--sub-keys",
                    a.k, a.sub_keys));
  a.options.apply_threads();
  ParameterSet parameters;
  const auto block = make_feedforward(
      parameters, "pkm", 0, {.d_model = a.d_model, .layers = 1},
      {.kind = "pkm", .k = a.k, .sub_keys = a.sub_keys, .key_heads = a.heads, .activation = a.activation});
  parameters.allocate(DType::float32, 1, a.place());
  const Tensor table = parameters.at("pkm.values").value.detach();
  const std::vector<BenchCase> cases{time_read(a.options, table), time_gather_sum(a, table), time_search(a),
                                     time_block(a, *block, false), time_block(a, *block, true)};
  print_cases(a.options, cases, {.bytes = cases[0].bytes / cases[0].timing.seconds},
              {{"tokens", a.tokens},
               {"d_model", a.d_model},
               {"sub_keys", a.sub_keys},
               {"heads", a.heads},
               {"k", a.k},
               {"activation", a.activation},
               {"dtype", a.dtype},
               {"device", a.device}},
              fmt::format("{}, d_model {}, {} x {} values, {}, k {}, {}, {}, {}", counted(a.tokens, "token"), a.d_model,
                          a.sub_keys, a.sub_keys, counted(a.heads, "head"), a.k, a.activation, a.dtype, a.device));
}

}  // namespace

void add_bench_pkm(CommandLine& line) {
  line.add<Arguments>("bench pkm", "a product-key memory, and its gather-sum against the memory's bandwidth", run);
}

}  // namespace weir
