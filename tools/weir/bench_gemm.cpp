// weir bench gemm: our matrix product, and the same one by a library that shares it out itself.
#include <fmt/format.h>

#include "core/float32_products.h"
#include "ops/cpu/library_gemm.h"
#include "tools/weir/bench.h"
#include "tools/weir/matrix_product.h"
#include "tools/weir/print.h"
#include "tools/weir/roof.h"

namespace weir {
namespace {

constexpr const char* kTf32 = "tf32";  // float32 in memory

struct Arguments {
  ProductSize size{.m = 1024, .n = 1024, .k = 1024};
  std::string dtype = "float32";
  BenchOptions options;

  void visit(OptionVisitor& v) {
    size_option(v, "--m N", size.m, "rows of the product");
    size_option(v, "--n N", size.n, "columns of the product");
    size_option(v, "--k N", size.k, "terms of each sum");
    v.flag("--trans-a", size.a_transposed, "the left matrix lies in memory as [k, m]");
    v.flag("--trans-b", size.b_transposed, "the right matrix lies in memory as [n, k]");
    dtype_option(v, dtype, {"float32", "bf16", kTf32});
    options.visit(v);
  }

  DType storage() const { return dtype == kTf32 ? DType::float32 : dtype_from_name(dtype); }
  Float32Products products() const { return dtype == kTf32 ? Float32Products::tf32 : Float32Products::ieee; }
};

struct Measured {
  std::vector<BenchCase> cases;
  double ratio = 0;  // the library's time over ours, median of the runs; 0: no library
};

// Run by run in turns, so that what else the machine does meets both. An unmeasured call goes before each measured one:
// the library makes its threads anew, for they would keep our processors busy if they were left waiting. Beside tf32
// the library multiplies float32.
Measured measure(const Arguments& a) {
  const MatrixProduct product(a.size, a.storage(), a.products());
  std::vector<double> ours, by_library, ratios;
  for (std::int64_t i = 0; i < a.options.warm_up; ++i) product.ours();
  for (std::int64_t i = 0; i < a.options.runs; ++i) {
    product.ours();
    ours.push_back(seconds_of(product.ours));
    if (!product.by_library) continue;
    product.by_library();
    by_library.push_back(seconds_of(product.by_library));
    ratios.push_back(by_library.back() / ours.back());
    cpu::library_gemm.end_threads();
  }
  Measured measured{{{.name = "gemm", .timing = timing_of(ours), .flops = a.size.flops()}}, 0};
  if (product.by_library) {
    const std::string name = fmt::format("{} directly", cpu::library_gemm.name);
    measured.cases.push_back({.name = name, .timing = timing_of(by_library), .flops = a.size.flops()});
    measured.ratio = timing_of(ratios).seconds;
  }
  return measured;
}

void run(const Arguments& a) {
  a.options.apply_threads();
  const Measured measured = measure(a);
  const ProductSize& s = a.size;
  JsonObject settings{
      {"m", s.m}, {"n", s.n}, {"k", s.k}, {"trans_a", s.a_transposed}, {"trans_b", s.b_transposed}, {"dtype", a.dtype}};
  if (measured.ratio > 0) settings["ratio"] = measured.ratio;
  const char *const left = s.a_transposed ? " transposed" : "", *const right = s.b_transposed ? " transposed" : "";
  print_cases(a.options, measured.cases, matrix_roof(a.storage(), {}, a.products()), settings,
              fmt::format("[{}, {}]{} times [{}, {}]{}, {}", s.m, s.k, left, s.k, s.n, right, a.dtype));
  if (measured.ratio > 0 && !a.options.json)
    print("ours is {:.2f} times as fast as {} directly\n", measured.ratio, cpu::library_gemm.name);
}

}  // namespace

void add_bench_gemm(CommandLine& line) {
  line.add<Arguments>("bench gemm", "a matrix product [m, k] times [k, n] on all threads", run);
}

}  // namespace weir
