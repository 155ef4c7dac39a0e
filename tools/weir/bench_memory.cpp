// weir bench memory: ops whose time goes into reading and writing, beside a copy of a tensor.
#include <fmt/format.h>

#include "core/kernel_cost.h"
#include "core/text.h"
#include "ops/adamw_update.h"
#include "ops/cross_entropy.h"
#include "ops/layer_norm.h"
#include "ops/random_integers.h"
#include "ops/residual_layer_norm.h"
#include "ops/standard_normal.h"
#include "tools/weir/bench.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/roof.h"

namespace weir {
namespace {

constexpr double kEps = 1e-5;

struct Arguments {
  std::int64_t rows = 16384, d_model = 1024, vocabulary = 8000, parameters = 50'000'000, copy = kRoofMebibytes;
  double dropout = 0;
  std::string dtype = "float32", device = "cpu";
  BenchOptions options;

  void visit(OptionVisitor& v) {
    size_option(v, "--rows N", rows, "rows of activations and logits: tokens");
    size_option(v, "--d-model N", d_model, "width of the activations that are normed");
    size_option(v, "--vocabulary N", vocabulary, "width of the logits");
    size_option(v, "--copy N", copy, "MiB that the copy reads and writes; take more than the caches hold");
    v.option("--parameters N", parameters, {.min = 1, .max = std::int64_t{1} << 40},
             "float32 values that the optimiser updates");
    v.option("--dropout P", dropout, {.min = 0, .max = 0.99},
             "dropout of the branch before residual_layer_norm adds it");
    dtype_option(v, dtype);
    device_option(v, device);
    options.visit(v);
  }

  Device place() const { return device_from_name(device); }
  // Made where they are used: a GPU is quicker at that than the host and the way from it.
  Tensor random(const Shape& shape, DType type, std::uint32_t stream) const {
    return standard_normal(shape, {.seed = 1, .stream = stream}, type, place());
  }
  // [rows, d_model]
  Tensor activations(std::uint32_t stream) const { return random({rows, d_model}, dtype_from_name(dtype), stream); }
  BenchCase timed(const std::string& name, const std::function<void()>& work) const {
    const double bytes = cost_of(work).bytes;
    return {.name = name, .timing = time_runs(options, work, place()), .bytes = bytes};
  }
};

// The weights of a norm and their gradients: [d_model] each, in float32 as in training.
struct NormWeights {
  explicit NormWeights(const Arguments& a)
      : weight(a.random({a.d_model}, DType::float32, 1)),
        bias(a.random({a.d_model}, DType::float32, 2)),
        dweight(Tensor::empty_like(weight)),
        dbias(Tensor::empty_like(bias)) {}

  Tensor weight, bias, dweight, dbias;
};

// x, y and their gradients are [rows, d_model].
std::vector<BenchCase> time_layer_norm(const Arguments& a) {
  const Tensor x = a.activations(3), dy = a.activations(4), y = Tensor::empty_like(x), dx = Tensor::empty_like(x);
  const NormWeights w(a);
  const RowStatistics statistics = empty_row_statistics(x);
  const Device device = a.place();
  const auto forward = [&] { layer_norm_kernel(device, x, w.weight, w.bias, kEps, y, statistics); };
  const auto backward = [&] {
    layer_norm_backward_kernel(device, x, w.weight, statistics, dy, dx, w.dweight, w.dbias);
  };
  return {a.timed("layer_norm", forward), a.timed("layer_norm backward", backward)};
}

// x, branch, both outputs and their gradients are [rows, d_model]. Dropout stores no mask.
std::vector<BenchCase> time_residual_layer_norm(const Arguments& a) {
  const Tensor x = a.activations(3), branch = a.activations(4), dsum = a.activations(5), dnormed = a.activations(6);
  const ResidualLayerNorm out{Tensor::empty_like(x), Tensor::empty_like(x)};
  const Tensor dx = Tensor::empty_like(x), dbranch = a.dropout > 0 ? Tensor::empty_like(x) : Tensor();
  const NormWeights w(a);
  const RowStatistics statistics = empty_row_statistics(x);
  const RandomStream random{.seed = 1, .stream = 7};
  const Device device = a.place();
  const auto forward = [&] {
    residual_layer_norm_kernel(device, x, branch, w.weight, w.bias, kEps, a.dropout, random, out, statistics);
  };
  const auto backward = [&] {
    residual_layer_norm_backward_kernel(device, out.sum, w.weight, statistics, dsum, dnormed, a.dropout, random, dx,
                                        dbranch, w.dweight, w.dbias);
  };
  return {a.timed("residual_layer_norm", forward), a.timed("residual_layer_norm backward", backward)};
}

// Values, gradients and both moments are [parameters]. As in training, they are float32 whatever the activations are.
BenchCase time_adamw(const Arguments& a) {
  const Tensor values = a.random({a.parameters}, DType::float32, 1);
  const Tensor gradients = a.random({a.parameters}, DType::float32, 2);
  const AdamWState state{Tensor::zeros_like(values), Tensor::zeros_like(values),
                         Tensor::zeros({}, DType::float64, a.place()), Tensor::zeros({}, DType::float64, a.place())};
  const Tensor rate = Tensor::full({}, 1e-4, DType::float64, a.place());
  const Tensor factor = Tensor::full({}, 1, DType::float64, a.place());
  const auto update = [&] { adamw_update(values, gradients, state, rate, factor, {.weight_decay = 0.01}); };
  return a.timed("adamw_update", update);
}

// Logits are [rows, vocabulary]. Backward, as in training, leaves their gradient in their place: from the second run on
// the logits are thus a gradient, nearly 0, which takes the same time.
std::vector<BenchCase> time_cross_entropy(const Arguments& a) {
  const Device device = a.place();
  const Tensor logits = a.random({a.rows, a.vocabulary}, dtype_from_name(a.dtype), 1);
  const Tensor targets = random_integers({a.rows}, a.vocabulary, {.seed = 1, .stream = 2}, device);
  const Tensor loss = Tensor::empty({}, DType::float32, device), dloss = Tensor::full({}, 1, DType::float32, device);
  const Tensor logsumexp = Tensor::empty({a.rows}, DType::float32, device);
  const auto forward = [&] { cross_entropy_kernel(device, logits, targets, loss, logsumexp); };
  const auto backward = [&] { cross_entropy_backward_kernel(device, logits, targets, logsumexp, dloss, logits); };
  return {a.timed("cross_entropy", forward), a.timed("cross_entropy backward", backward)};
}

void run(const Arguments& a) {
  a.options.apply_threads();
  std::vector<BenchCase> cases{time_copy(a.options, a.copy, a.place())};
  const auto append = [&](const std::vector<BenchCase>& more) { cases.insert(cases.end(), more.begin(), more.end()); };
  append(time_layer_norm(a));
  append(time_residual_layer_norm(a));
  append({time_adamw(a)});
  append(time_cross_entropy(a));
  print_cases(
      a.options, cases, {.bytes = cases[0].bytes / cases[0].timing.seconds, .bytes_by = "the copy"},
      {{"rows", a.rows},
       {"d_model", a.d_model},
       {"vocabulary", a.vocabulary},
       {"parameters", a.parameters},
       {"copy", a.copy},
       {"dropout", a.dropout},
       {"dtype", a.dtype},
       {"device", a.device}},
      fmt::format("{}, d_model {}, vocabulary {}, dropout {}, {} parameters, {} MiB copied, {}, {}",
                  counted(a.rows, "row"), a.d_model, a.vocabulary, a.dropout, a.parameters, a.copy, a.dtype, a.device));
  if (!a.options.json) print("GB/s count what an op has to read and write at least, each tensor once\n");
}

}  // namespace

void add_bench_memory(CommandLine& line) {
  line.add<Arguments>("bench memory", "ops that mostly read and write, beside a copy", run);
}

}  // namespace weir
