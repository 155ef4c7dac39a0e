// weir bench step: whole training steps on random bytes.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/device.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/text.h"
#include "models/model_cost.h"
#include "tools/weir/bench.h"
#include "tools/weir/breakdown.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"
#include "tools/weir/roof.h"
#include "train/progress.h"
#include "train/training_step.h"

namespace weir {
namespace {

struct Arguments {
  std::string preset = "quickstart", device = "cpu";
  std::vector<std::string> overrides;
  bool breakdown = false;
  BenchOptions options;

  void visit(OptionVisitor& v) {
    v.argument("[SECTION.KEY=VALUE...]", overrides, "settings");
    v.settings(setting_hint);
    v.option("--preset NAME", preset, "a preset or a .toml file");
    v.flag("--breakdown", breakdown,
           "then run as many steps again and measure them op by op, with the share of matrix products");
    device_option(v, device);
    options.visit(v);
  }
};

struct Measured {
  Timing timing;
  std::size_t peak_bytes = 0;
  std::uint64_t system_allocations = 0;  // while measuring
  std::optional<Breakdown> breakdown;    // of more steps afterwards
  Roof breakdown_roof;                   // between those steps
};

// Random tokens for one group of streams. Drawing them takes well under a thousandth of a step.
Batch random_batch(const Config& config, std::int64_t step, std::int64_t group) {
  const std::int64_t streams = config.train.batch_size / config.train.accumulate, segment = config.model.segment;
  const RandomStream random{.seed = static_cast<std::uint64_t>(config.train.seed),
                            .stream = static_cast<std::uint32_t>(group),
                            .step = static_cast<std::uint32_t>(step)};
  const auto values = static_cast<std::uint32_t>(std::min<std::int64_t>(config.model.vocabulary, 256));
  const Tensor all = Tensor::empty({streams, segment + 1}, DType::uint8);
  const auto rows = rows_of<std::uint8_t>(all);
  for (std::int64_t r = 0; r < rows.rows; ++r)
    for (std::int64_t c = 0; c < rows.cols; ++c)
      rows.row(r)[c] = static_cast<std::uint8_t>(random.bits(static_cast<std::uint64_t>(r * rows.cols + c)) % values);
  return {clone(slice_view(all, 1, 0, segment)), clone(slice_view(all, 1, 1, segment + 1))};
}

// Steps until the memory is full, and one more.
std::int64_t steps_until_steady(const ModelConfig& model) {
  return std::max<std::int64_t>(2, 1 + (model.memory_length() + model.segment - 1) / model.segment);
}

Measured measure(const Config& config, const BenchOptions& options, bool breakdown, Device device) {
  const auto model = make_language_model(config.model, config.feedforward);
  model->initialise(static_cast<std::uint64_t>(config.train.seed), DType::float32, device);
  TrainingStep training_step(config, *model);
  std::vector<Memory> memories;
  std::int64_t step = 0;
  const auto one_step = [&] {
    const auto read = [&](std::int64_t group) { return random_batch(config, step, group); };
    if (!training_step(read, memories, step, config.optimizer.lr, false).applied)
      throw RunError(ExitCode::diverged, "bench step: the gradient is not finite; lower optimizer.lr");
    ++step;
  };
  Measured measured;
  while (step < options.warm_up) one_step();
  Allocator& memory = allocator(device);
  const std::uint64_t before = memory.statistics().system_allocations;
  memory.reset_peak();
  measured.timing = time_runs({.runs = options.runs, .warm_up = 0}, one_step, device);
  measured.peak_bytes = memory.statistics().peak_bytes;
  measured.system_allocations = memory.statistics().system_allocations - before;
  if (breakdown) {
    RoofBeside roof(config.model.activation_dtype(), config.model.float32_products());
    measured.breakdown = break_down(options.runs, one_step, [&] { roof.measure(); });
    measured.breakdown_roof = roof.roof();
  }
  return measured;
}

// What share of its arithmetic at the machine's rate a step takes.
double share_at_roof(const Breakdown& b, const Roof& roof) { return b.product_flops() / roof.flops / b.seconds; }

JsonObject json_of(const Breakdown& b, const Roof& roof) {
  JsonList ops;
  for (const BreakdownRow& row : b.rows)
    ops.push_back(JsonObject{{"op", row.name},
                             {"calls", row.calls},
                             {"seconds", row.seconds},
                             {"share", row.seconds / b.seconds},
                             {"product_seconds", row.product_seconds},
                             {"product_flops", row.product_flops}});
  return {{"steps", b.steps},
          {"seconds", b.seconds},
          {"ops", ops},
          {"product_seconds", b.product_seconds()},
          {"product_share", b.product_seconds() / b.seconds},
          {"roof_gflops", roof.flops / 1e9},
          {"product_gflops", b.product_flops() / b.product_seconds() / 1e9},
          {"product_roof_share", b.product_flops() / b.product_seconds() / roof.flops},
          {"share_at_roof", share_at_roof(b, roof)}};
}

void print_breakdown(const Breakdown& b, const Roof& roof) {
  print("\n{} more steps, measured op by op: {:.6f} seconds per step\n\n", b.steps, b.seconds);
  print("{:<30} {:>7} {:>9} {:>7} {:>13} {:>9}\n", "op", "calls", "ms", "share", "products, ms", "GFLOP/s");
  for (const BreakdownRow& row : b.rows) {
    print("{:<30} {:>7.1f} {:>9.3f} {:>6.1f}%", row.name, row.calls, 1e3 * row.seconds, 100 * row.seconds / b.seconds);
    if (row.product_flops > 0)
      print(" {:>13.3f} {:>9.1f}", 1e3 * row.product_seconds, row.product_flops / row.product_seconds / 1e9);
    print("\n");
  }
  const double rate = b.product_flops() / b.product_seconds();
  print("\ninside matrix products             {:>6.1f}%  of the step, over all threads\n",
        100 * b.product_seconds() / b.seconds);
  print("rate inside matrix products        {:>6.1f}   GFLOP/s, {:.1f}% of {:.1f} between the steps\n", rate / 1e9,
        100 * rate / roof.flops, roof.flops / 1e9);
  print("matrix work at the machine's rate  {:>6.1f}%  of the step: {:.2f} GFLOP\n", 100 * share_at_roof(b, roof),
        b.product_flops() / 1e9);
}

void print_step(const Arguments& a, const Config& config, const ModelCost& cost, const BenchCase& step,
                const Measured& m, const Roof& roof) {
  print("{}: {} parameters, {} feedforward, {}, batch {} of {}, memory {}, {}, {}\n\n", config.name, cost.parameters,
        config.feedforward.kind, config.model.precision, config.train.batch_size,
        counted(config.model.segment, "token"), config.model.memory_length(), a.device,
        counted(thread_count(), "thread"));
  print("tokens per second   {:>12.0f}\n", step.tokens_per_second());
  print("seconds per step    {:>12.6f}  median of {}, spread {:.1f}%\n", m.timing.seconds, a.options.runs,
        100 * m.timing.spread);
  print("model arithmetic    {:>12}  FLOP/s\n", format_si(1e9 * step.gflops()));
  if (roof.flops > 0)
    print("share of the roof   {:>11.1f}%  of {:.1f} GFLOP/s, the best of some large matrix products\n",
          100 * step.roof_share(roof), roof.flops / 1e9);
  print("peak memory         {:>8} MiB\n", m.peak_bytes >> 20);
  print("system allocations  {:>12}  after the first {}\n", m.system_allocations, counted(a.options.warm_up, "step"));
}

JsonObject settings_of(const Arguments& a, const Config& config, const ModelCost& cost, const Measured& m) {
  return {{"name", config.name},
          {"feedforward", config.feedforward.kind},
          {"parameters", cost.parameters},
          {"precision", config.model.precision},
          {"batch_size", config.train.batch_size},
          {"segment", config.model.segment},
          {"memory", config.model.memory_length()},
          {"device", a.device},
          {"peak_bytes", m.peak_bytes},
          {"system_allocations", m.system_allocations}};
}

void run(Arguments a) {
  Config config = load_config(a.preset, a.overrides);
  const Device device = device_from_name(a.device);
  if (a.breakdown && device.kind != DeviceKind::cpu)
    throw ArgumentError("bench step: --breakdown measures the CPU, and --device " + a.device +
                        " computes elsewhere; leave one of them out, or use the device's own profiler");
  if (a.options.threads > 0) config.train.threads = a.options.threads;
  if (config.train.threads > 0) set_thread_count(static_cast<int>(config.train.threads));
  a.options.warm_up = std::max(a.options.warm_up, steps_until_steady(config.model));
  const Measured m = measure(config, a.options, a.breakdown, device);
  const Roof roof = matrix_roof(config.model.activation_dtype(), device, config.model.float32_products());
  const ModelCost cost =
      model_cost(config.model, config.feedforward, config.train.batch_size / config.train.accumulate);
  const auto tokens = static_cast<double>(config.train.batch_size * config.model.segment);
  const BenchCase step{
      .name = "step", .timing = m.timing, .flops = tokens * cost.training_flops_per_token, .tokens = tokens};
  if (a.options.json) {
    JsonObject object = json_of(a.options, step, roof, settings_of(a, config, cost, m));
    if (m.breakdown) object["breakdown"] = json_of(*m.breakdown, m.breakdown_roof);
    print("{}\n", Json(object).text());
    return;
  }
  print_step(a, config, cost, step, m, roof);
  if (m.breakdown) print_breakdown(*m.breakdown, m.breakdown_roof);
}

}  // namespace

void add_bench_step(CommandLine& line) {
  line.add<Arguments>("bench step", "training steps on random bytes, with carried memory", run);
}

}  // namespace weir
