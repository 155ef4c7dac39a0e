// What the benchmarks of `weir bench` share.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>

#include "core/dtype.h"
#include "core/tensor.h"

namespace weir {

struct Timing {
  double seconds = 0;  // median of the runs
  double spread = 0;   // slowest minus fastest, over the median
};

// Calls `step` `warm_up` times unmeasured, then times each of `runs` calls, with the work they leave to `device`.
Timing time_runs(std::int64_t runs, std::int64_t warm_up, const std::function<void()>& step, Device device = {});
inline constexpr std::int64_t kWarmUp = 3;

// Normal random values; another stream, other values.
Tensor random_normal(const Shape& shape, double std, DType dtype, std::uint32_t stream, Device device = {});

// The options of every benchmark.
struct BenchOptions {
  std::int64_t runs = 10;
  std::int64_t threads = 0;  // 0: all
  bool json = false;
  void add_to(CLI::App& command);
};

CLI::Option* add_size(CLI::App& command, const std::string& name, std::int64_t& size, const std::string& help);
CLI::Option* add_dtype(CLI::App& command, std::string& name);

void add_bench_attention(CLI::App& bench);
void add_bench_feedforward(CLI::App& bench);
void add_bench_gemm(CLI::App& bench);
void add_bench_pkm(CLI::App& bench);
void add_bench_step(CLI::App& bench);

}  // namespace weir
