// weir bench: what all benchmarks share, and the matrix product.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/parallel.h"
#include "models/initialise.h"
#include "ops/cpu/gemm.h"
#include "tools/weir/bench.h"
#include "tools/weir/commands.h"

namespace weir {

Timing time_runs(std::int64_t runs, std::int64_t warm_up, const std::function<void()>& step, Device device) {
  using Clock = std::chrono::steady_clock;
  for (std::int64_t i = 0; i < warm_up; ++i) step();
  synchronize(device);
  std::vector<double> seconds;
  for (std::int64_t i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    step();
    synchronize(device);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  return {median, (seconds.back() - seconds.front()) / median};
}

Tensor random_normal(const Shape& shape, double std, DType dtype, std::uint32_t stream, Device device) {
  const Tensor t = Tensor::empty(shape, dtype);
  initialise::normal(std)(t, RandomStream{.seed = 1, .stream = stream});
  return to_device(t, device);
}

void BenchOptions::add_to(CLI::App& command) {
  command.add_option("--runs", runs, "measured runs; the median counts")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
  command.add_option("--threads", threads, "default all")->check(CLI::Range(1, 4096));
  command.add_flag("--json", json, "print one JSON object per case");
}

CLI::Option* add_size(CLI::App& command, const std::string& name, std::int64_t& size, const std::string& help) {
  return command.add_option(name, size, help)
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
}

CLI::Option* add_dtype(CLI::App& command, std::string& name) {
  return command.add_option("--dtype", name, "float32 or bf16")
      ->capture_default_str()
      ->check(CLI::IsMember({"float32", "bf16"}));
}

namespace {

struct GemmArguments {
  std::int64_t m = 1024, n = 1024, k = 1024;
  std::string dtype = "float32";
  BenchOptions options;
};

template <class T>
Timing time_gemm(const GemmArguments& a) {
  const Tensor left = random_normal({a.m, a.k}, 1, dtype_of<T>(), 1);
  const Tensor right = random_normal({a.k, a.n}, 1, dtype_of<T>(), 2);
  const Tensor product = Tensor::empty({a.m, a.n}, dtype_of<T>());
  const auto x = rows_of<T>(left), y = rows_of<T>(right), out = rows_of<T>(product);
  return time_runs(a.options.runs, kWarmUp, [&] {
    cpu::parallel_gemm<T, T>(a.m, a.n, a.k, {x.data, x.stride}, {y.data, y.stride}, out.data, out.stride);
  });
}

void run_gemm(const GemmArguments& a) {
  if (a.options.threads > 0) set_thread_count(static_cast<int>(a.options.threads));
  const Timing timing = a.dtype == "bf16" ? time_gemm<bf16>(a) : time_gemm<float>(a);
  const double flops = 2.0 * static_cast<double>(a.m) * static_cast<double>(a.n) * static_cast<double>(a.k);
  const double gflops = flops / timing.seconds / 1e9;
  if (a.options.json) {
    const nlohmann::json object = {{"case", "gemm"},
                                   {"seconds", timing.seconds},
                                   {"spread", timing.spread},
                                   {"gflops", gflops},
                                   {"m", a.m},
                                   {"n", a.n},
                                   {"k", a.k},
                                   {"dtype", a.dtype},
                                   {"threads", thread_count()},
                                   {"runs", a.options.runs}};
    fmt::print("{}\n", object.dump());
    return;
  }
  fmt::print("[{}, {}] times [{}, {}], {}, {} threads\n", a.m, a.k, a.k, a.n, a.dtype, thread_count());
  fmt::print("{:.6f} s (spread {:.1f}%), {:.1f} GFLOP/s\n", timing.seconds, 100 * timing.spread, gflops);
}

}  // namespace

void add_bench_gemm(CLI::App& bench) {
  CLI::App* const command = bench.add_subcommand("gemm", "a matrix product [m, k] times [k, n] on all threads");
  const auto arguments = std::make_shared<GemmArguments>();
  add_size(*command, "--m", arguments->m, "rows of the product");
  add_size(*command, "--n", arguments->n, "columns of the product");
  add_size(*command, "--k", arguments->k, "terms of each sum");
  add_dtype(*command, arguments->dtype);
  arguments->options.add_to(*command);
  command->callback([arguments] { run_gemm(*arguments); });
}

void add_bench_command(CLI::App& app) {
  CLI::App* const bench = app.add_subcommand("bench", "measure the speed of the pieces and of a training step");
  bench->require_subcommand(1);
  add_bench_attention(*bench);
  add_bench_feedforward(*bench);
  add_bench_gemm(*bench);
  add_bench_pkm(*bench);
  add_bench_step(*bench);
}

}  // namespace weir
