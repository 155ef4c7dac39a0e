// weir bench: what all benchmarks share.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "core/parallel.h"
#include "core/text.h"
#include "models/initialise.h"
#include "tools/weir/bench.h"
#include "tools/weir/commands.h"
#include "tools/weir/common_options.h"
#include "tools/weir/print.h"

namespace weir {

void BenchOptions::visit(OptionVisitor& v) {
  v.option("--runs N", runs, {.min = 1, .max = 1 << 20}, "measured runs; the median counts");
  v.option("--warm-up N", warm_up, {.min = 0, .max = 1 << 20}, "runs before those, not measured");
  threads_option(v, threads);
  v.flag("--json", json, "print one JSON object per case");
}

void BenchOptions::apply_threads() const {
  if (threads > 0) set_thread_count(static_cast<int>(threads));
}

Timing timing_of(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  return {median, (seconds.back() - seconds.front()) / median};
}

double seconds_of(const std::function<void()>& step, Device device) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  step();
  synchronize(device);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Timing time_runs(const BenchOptions& options, const std::function<void()>& step, Device device) {
  for (std::int64_t i = 0; i < options.warm_up; ++i) step();
  synchronize(device);
  std::vector<double> seconds;
  for (std::int64_t i = 0; i < options.runs; ++i) seconds.push_back(seconds_of(step, device));
  return timing_of(std::move(seconds));
}

double BenchCase::roof_share(const Roof& roof) const {
  const auto share = [&](double work, double best) { return best > 0 ? work / timing.seconds / best : 0; };
  return std::max(share(flops, roof.flops), share(bytes, roof.bytes));
}

JsonObject json_of(const BenchOptions& options, const BenchCase& c, const Roof& roof, JsonObject settings) {
  JsonObject object = std::move(settings);
  object["case"] = c.name;
  object["seconds"] = c.timing.seconds;
  object["spread"] = c.timing.spread;
  object["threads"] = thread_count();
  object["runs"] = options.runs;
  object["warm_up"] = options.warm_up;
  if (c.flops > 0) object["gflops"] = c.gflops();
  if (c.bytes > 0) object["gigabytes_per_second"] = c.gigabytes_per_second();
  if (c.tokens > 0) object["tokens_per_second"] = c.tokens_per_second();
  if (roof.flops > 0) object["roof_gflops"] = roof.flops / 1e9;
  if (roof.bytes > 0) object["roof_gigabytes_per_second"] = roof.bytes / 1e9;
  if (const double share = c.roof_share(roof); share > 0) object["roof_share"] = share;
  return object;
}

namespace {

// Columns that no case fills are left out.
struct Column {
  const char* title;
  int width;
  std::function<std::string(const BenchCase&)> text;
};

std::string where(bool known, const char* format, double value) {
  return known ? fmt::format(fmt::runtime(format), value) : std::string();
}

void print_table(std::span<const BenchCase> cases, const Roof& roof) {
  std::vector<Column> columns{
      {"seconds", 10, [](const BenchCase& c) { return fmt::format("{:.6f}", c.timing.seconds); }},
      {"spread", 8, [](const BenchCase& c) { return fmt::format("{:.1f}%", 100 * c.timing.spread); }},
      {"GFLOP/s", 9, [](const BenchCase& c) { return where(c.flops > 0, "{:.1f}", c.gflops()); }},
      {"GB/s", 8, [](const BenchCase& c) { return where(c.bytes > 0, "{:.2f}", c.gigabytes_per_second()); }},
      {"tokens/s", 10, [](const BenchCase& c) { return where(c.tokens > 0, "{:.0f}", c.tokens_per_second()); }},
      {"of roof", 8,
       [&](const BenchCase& c) { return where(c.roof_share(roof) > 0, "{:.1f}%", 100 * c.roof_share(roof)); }}};
  std::erase_if(columns, [&](const Column& column) {
    return std::all_of(cases.begin(), cases.end(), [&](const BenchCase& c) { return column.text(c).empty(); });
  });
  std::size_t names = 21;
  for (const BenchCase& c : cases) names = std::max(names, c.name.size());
  std::string header = fmt::format("{:<{}}", "case", names);
  for (const Column& column : columns) header += fmt::format(" {:>{}}", column.title, column.width);
  print("{}\n", header);
  for (const BenchCase& c : cases) {
    std::string line = fmt::format("{:<{}}", c.name, names);
    for (const Column& column : columns) line += fmt::format(" {:>{}}", column.text(c), column.width);
    print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
  }
  print("\n");
  if (roof.flops > 0) print("roof: {:.1f} GFLOP/s, the best of some large matrix products\n", roof.flops / 1e9);
  if (roof.bytes > 0) print("roof: {:.2f} GB/s, as {} reaches on this machine\n", roof.bytes / 1e9, roof.bytes_by);
}

}  // namespace

void print_cases(const BenchOptions& options, std::span<const BenchCase> cases, const Roof& roof,
                 const JsonObject& settings, const std::string& title) {
  if (options.json) {
    for (const BenchCase& c : cases) print("{}\n", Json(json_of(options, c, roof, settings)).text());
    return;
  }
  print("{}, {}\n\n", title, counted(thread_count(), "thread"));
  print_table(cases, roof);
}

Tensor random_normal(const Shape& shape, double std, DType dtype, std::uint32_t stream, Device device) {
  const Tensor t = Tensor::empty(shape, dtype);
  initialise::normal(std)(t, RandomStream{.seed = 1, .stream = stream});
  return to_device(t, device);
}

void size_option(OptionVisitor& v, std::string_view usage, std::int64_t& size, const char* help) {
  v.option(usage, size, {.min = 1, .max = 1 << 20}, help);
}

void dtype_option(OptionVisitor& v, std::string& name, Choices names) {
  v.option("--dtype NAME", name, std::move(names), "element type");
}

void add_bench_command(CommandLine& line) {
  line.add_group("bench", "measure the speed of the pieces and of a training step");
  add_bench_attention(line);
  add_bench_feedforward(line);
  add_bench_gemm(line);
  add_bench_memory(line);
  add_bench_op(line);
  add_bench_pkm(line);
  add_bench_step(line);
}

}  // namespace weir
