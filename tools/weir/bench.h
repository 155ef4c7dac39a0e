// What the benchmarks of `weir bench` share: options, timing, and how cases are printed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/json_writer.h"
#include "core/tensor.h"
#include "tools/weir/command_line.h"

namespace weir {

// The options of every benchmark.
struct BenchOptions {
  std::int64_t runs = 10, warm_up = 3;
  std::int64_t threads = 0;  // 0: all
  bool json = false;

  void visit(OptionVisitor& v);
  void apply_threads() const;
};

struct Timing {
  double seconds = 0;  // median of the runs
  double spread = 0;   // slowest minus fastest, over the median
};
Timing timing_of(std::vector<double> seconds);

// The time of one call, with the work it leaves to `device`.
double seconds_of(const std::function<void()>& step, Device device = {});

// Calls `step` options.warm_up times unmeasured, then times each of options.runs calls.
Timing time_runs(const BenchOptions& options, const std::function<void()>& step, Device device = {});

// The best this machine does in one second; 0: not measured.
struct Roof {
  double flops = 0, bytes = 0;
  const char* bytes_by = "reading in order";
};

// A line of a benchmark's table. What one run computes, reads or writes, and takes in; 0: not counted.
struct BenchCase {
  std::string name;
  Timing timing;
  double flops = 0, bytes = 0, tokens = 0;

  double gflops() const { return flops / timing.seconds / 1e9; }
  double gigabytes_per_second() const { return bytes / timing.seconds / 1e9; }
  double tokens_per_second() const { return tokens / timing.seconds; }
  // Of the roof of its arithmetic or of its bytes, whichever it is nearer to; 0 where neither is known.
  double roof_share(const Roof& roof) const;
};

// One line of JSON per case, with `settings` in each; or the title and a table.
void print_cases(const BenchOptions& options, std::span<const BenchCase> cases, const Roof& roof,
                 const JsonObject& settings, const std::string& title);
// The JSON of one case.
JsonObject json_of(const BenchOptions& options, const BenchCase& c, const Roof& roof, JsonObject settings);

// Normal random values; another stream, other values.
Tensor random_normal(const Shape& shape, double std, DType dtype, std::uint32_t stream, Device device = {});

void size_option(OptionVisitor& v, std::string_view usage, std::int64_t& size, const char* help);
void dtype_option(OptionVisitor& v, std::string& name, Choices names = {"float32", "bf16"});

void add_bench_attention(CommandLine& line);
void add_bench_feedforward(CommandLine& line);
void add_bench_gemm(CommandLine& line);
void add_bench_memory(CommandLine& line);
void add_bench_op(CommandLine& line);
void add_bench_pkm(CommandLine& line);
void add_bench_step(CommandLine& line);

}  // namespace weir
