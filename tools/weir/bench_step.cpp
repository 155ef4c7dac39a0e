// weir bench step: whole training steps on random bytes.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/device.h"
#include "core/error.h"
#include "core/parallel.h"
#include "models/model_cost.h"
#include "tools/weir/bench.h"
#include "tools/weir/device_option.h"
#include "train/progress.h"
#include "train/training_step.h"

namespace weir {
namespace {

struct Arguments {
  std::string preset = "quickstart", device = "cpu";
  std::vector<std::string> overrides;
  BenchOptions options;
};

struct Measured {
  Timing timing;
  std::size_t peak_bytes = 0;
  std::uint64_t system_allocations = 0;  // while measuring
  std::int64_t warm_up = 0;              // steps before
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

Measured measure(const Config& config, std::int64_t runs, Device device) {
  TransformerXl model(config.model, config.feedforward);
  model.initialise(static_cast<std::uint64_t>(config.train.seed), DType::float32, device);
  TrainingStep training_step(config, model);
  std::vector<Memory> memories;
  std::int64_t step = 0;
  const auto one_step = [&] {
    const auto read = [&](std::int64_t group) { return random_batch(config, step, group); };
    if (!training_step(read, memories, step, config.optimizer.lr, false).applied)
      throw RunError(ExitCode::diverged, "bench step: the gradient is not finite; lower optimizer.lr");
    ++step;
  };
  Measured measured;
  const std::int64_t segment = config.model.segment;
  measured.warm_up = std::max<std::int64_t>(2, 1 + (config.model.memory_length() + segment - 1) / segment);
  while (step < measured.warm_up) one_step();
  Allocator& memory = allocator(device);
  const std::uint64_t before = memory.statistics().system_allocations;
  memory.reset_peak();
  measured.timing = time_runs(runs, 0, one_step, device);
  measured.peak_bytes = memory.statistics().peak_bytes;
  measured.system_allocations = memory.statistics().system_allocations - before;
  return measured;
}

void run(const Arguments& a) {
  Config config = load_config(a.preset, a.overrides);
  if (a.options.threads > 0) config.train.threads = a.options.threads;
  if (config.train.threads > 0) set_thread_count(static_cast<int>(config.train.threads));
  const Measured m = measure(config, a.options.runs, device_from_name(a.device));
  const double tokens = static_cast<double>(config.train.batch_size * config.model.segment);
  const double rate = tokens / m.timing.seconds;
  const ModelCost cost =
      model_cost(config.model, config.feedforward, config.train.batch_size / config.train.accumulate);
  const double flops = rate * cost.training_flops_per_token;
  if (a.options.json) {
    const nlohmann::json object = {{"case", "step"},
                                   {"name", config.name},
                                   {"feedforward", config.feedforward.kind},
                                   {"parameters", cost.parameters},
                                   {"precision", config.model.precision},
                                   {"batch_size", config.train.batch_size},
                                   {"segment", config.model.segment},
                                   {"memory", config.model.memory_length()},
                                   {"device", a.device},
                                   {"threads", thread_count()},
                                   {"runs", a.options.runs},
                                   {"warm_up", m.warm_up},
                                   {"seconds", m.timing.seconds},
                                   {"spread", m.timing.spread},
                                   {"tokens_per_second", rate},
                                   {"gflops", flops / 1e9},
                                   {"peak_bytes", m.peak_bytes},
                                   {"system_allocations", m.system_allocations}};
    fmt::print("{}\n", object.dump());
    return;
  }
  fmt::print("{}: {} parameters, {} feedforward, {}, batch {} of {} tokens, memory {}, {}, {} threads\n\n", config.name,
             cost.parameters, config.feedforward.kind, config.model.precision, config.train.batch_size,
             config.model.segment, config.model.memory_length(), a.device, thread_count());
  fmt::print("tokens per second   {:>12.0f}\n", rate);
  fmt::print("seconds per step    {:>12.6f}  median of {}, spread {:.1f}%\n", m.timing.seconds, a.options.runs,
             100 * m.timing.spread);
  fmt::print("model arithmetic    {:>12}  FLOP/s\n", format_si(flops));
  fmt::print("peak memory         {:>8} MiB\n", m.peak_bytes >> 20);
  fmt::print("system allocations  {:>12}  after the first {} steps\n", m.system_allocations, m.warm_up);
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  CLI::App* const command = bench.add_subcommand("step", "training steps on random bytes, with carried memory");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("--preset", arguments->preset, "a preset or a .toml file")->capture_default_str();
  command->add_option("overrides", arguments->overrides, "settings, as section.key=value");
  add_device_option(*command, arguments->device);
  arguments->options.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace weir
