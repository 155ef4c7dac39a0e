// The matrix products of the CPU against naive loops: every shape, transpose, stride and mode.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include "core/float32_products.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "ops/cpu/gemm_backends.h"

using namespace weir;

namespace {

constexpr double kGuard = 77;  // stands wherever a product must not write

// A matrix of random values in memory of its own, rows (or columns, where transposed) `extra` elements apart.
template <class T>
struct Stored {
  std::vector<T> memory;
  cpu::Matrix<T> matrix;

  Stored(std::int64_t rows, std::int64_t cols, bool transposed, std::int64_t extra, std::uint32_t stream) {
    const std::int64_t major = transposed ? cols : rows, minor = transposed ? rows : cols;
    const std::int64_t stride = std::max<std::int64_t>(1, minor + extra);
    const RandomStream random{3, stream, 0};
    memory.resize(static_cast<std::size_t>(major * stride + 1));
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = T(random.uniform(i) - 0.5f);
    matrix = {memory.data(), stride, transposed};
  }
  double at(std::int64_t i, std::int64_t j) const { return static_cast<double>(*matrix.at(i, j).data); }
};

struct Case {
  std::int64_t m, n, k;
  bool a_transposed, b_transposed;
  std::int64_t extra;
  cpu::GemmMode mode;
  bool parallel;
  Float32Products products = Float32Products::ieee;
};

// Until the end of the scope, products go where they would on a processor without a matrix unit.
class WithoutMatrixUnit {
 public:
  WithoutMatrixUnit() : before_(std::exchange(cpu::matrix_unit, {})) {}
  ~WithoutMatrixUnit() { cpu::matrix_unit = before_; }
  WithoutMatrixUnit(const WithoutMatrixUnit&) = delete;
  WithoutMatrixUnit& operator=(const WithoutMatrixUnit&) = delete;

 private:
  cpu::MatrixUnit before_;
};

// Largest distance from the naive product; infinite where something outside the product was written.
template <class In, class Out>
double worst_error(const Case& c) {
  const Stored<In> a(c.m, c.k, c.a_transposed, c.extra, 1), b(c.k, c.n, c.b_transposed, c.extra, 2);
  const std::int64_t stride = std::max<std::int64_t>(1, c.n + c.extra);
  std::vector<Out> y(static_cast<std::size_t>(c.m * stride + 1), Out(kGuard));
  for (std::int64_t i = 0; i < c.m; ++i)
    for (std::int64_t j = 0; j < c.n; ++j) y[static_cast<std::size_t>(i * stride + j)] = Out(0.25f);
  if (c.parallel)
    cpu::parallel_gemm<In, Out>(c.m, c.n, c.k, a.matrix, b.matrix, y.data(), stride, c.products, c.mode);
  else
    cpu::gemm<In, In, Out>(c.m, c.n, c.k, a.matrix, b.matrix, y.data(), stride, c.products, c.mode);
  double worst = 0;
  for (std::int64_t i = 0; i <= c.m; ++i)
    for (std::int64_t j = 0; j < (i < c.m ? stride : 1); ++j) {
      const auto got = static_cast<double>(y[static_cast<std::size_t>(i * stride + j)]);
      if (i == c.m || j >= c.n) {
        if (got != kGuard) return INFINITY;
        continue;
      }
      double expected = c.mode == cpu::GemmMode::accumulate ? 0.25 : 0;
      for (std::int64_t p = 0; p < c.k; ++p) expected += a.at(i, p) * b.at(p, j);
      const double error = std::abs(got - expected) / std::max(1.0, std::abs(expected));
      if (!(error <= worst)) worst = error;
    }
  return worst;
}

template <class In, class Out>
void check_everything(double tolerance, Float32Products products = Float32Products::ieee) {
  constexpr std::int64_t kExtents[] = {0, 1, 3, 16, 17, 64, 130};
  int shapes = 0;  // small shapes meet all 32 variants, large ones two each, in turn
  for (std::int64_t m : kExtents)
    for (std::int64_t n : kExtents)
      for (std::int64_t k : kExtents) {
        const int turn = shapes++ * 7 % 16;
        for (int bits = 0; bits < 32; ++bits) {
          if (m * n * k > 20000 && bits % 16 != turn) continue;
          const Case c{m,
                       n,
                       k,
                       (bits & 1) != 0,
                       (bits & 2) != 0,
                       bits & 4 ? 3 : 0,
                       bits & 8 ? cpu::GemmMode::accumulate : cpu::GemmMode::overwrite,
                       (bits & 16) != 0,
                       products};
          INFO("m ", m, " n ", n, " k ", k, " variant ", bits);
          CHECK(worst_error<In, Out>(c) <= tolerance);
        }
      }
}

// More terms than are packed at a time.
template <class In, class Out>
void check_long_sums(double tolerance, Float32Products products = Float32Products::ieee) {
  for (const std::int64_t k : {768, 800, 1600, 3100})
    for (int bits = 0; bits < 8; ++bits) {
      INFO("k ", k, " variant ", bits);
      CHECK(worst_error<In, Out>({37, 70, k, (bits & 1) != 0, (bits & 2) != 0, 3,
                                  bits & 4 ? cpu::GemmMode::accumulate : cpu::GemmMode::overwrite, false, products}) <=
            tolerance);
    }
}

// One element of a product of n equal terms.
template <class T>
float sum_of_products(T a, T b, std::int64_t n, Float32Products products) {
  const std::vector<T> left(static_cast<std::size_t>(n), a), right(static_cast<std::size_t>(n), b);
  float sum = 0;
  cpu::gemm<T, T, float>(1, 1, n, {left.data(), n}, {right.data(), 1}, &sum, 1, products);
  return sum;
}

// Every part of a right factor of 130 x 210 that begins at a multiple of 32, by products of two sizes: the bits of the
// product with that part of the matrix.
template <class Left, class Right, class Out>
void check_parts(Float32Products products = Float32Products::ieee) {
  constexpr std::int64_t m = 37, rows = 130, cols = 210;
  const Stored<Left> a(m, rows, false, 1, 1);
  for (const bool transposed : {false, true})
    for (const auto mode : {cpu::GemmMode::overwrite, cpu::GemmMode::accumulate}) {
      const Stored<Right> b(rows, cols, transposed, 3, 2);
      const cpu::RightFactor<Right> factor(rows, cols, b.matrix, products);
      for (std::int64_t row = 0; row < rows; row += 32)
        for (std::int64_t col = 0; col < cols; col += 32)
          for (const std::int64_t less : {0, 1}) {
            const std::int64_t k = rows - row - less, n = cols - col - less;
            INFO("transposed ", transposed, " row ", row, " col ", col, " less ", less);
            std::vector<Out> part(static_cast<std::size_t>(m * n), Out(0.25f)), whole = part;
            cpu::gemm(m, n, k, a.matrix, factor.at(row, col), part.data(), n, mode);
            cpu::gemm(m, n, k, a.matrix, b.matrix.at(row, col), whole.data(), n, products, mode);
            CHECK(std::equal(part.begin(), part.end(), whole.begin(),
                             [](Out p, Out q) { return static_cast<double>(p) == static_cast<double>(q); }));
          }
    }
}

// A float32 left factor against its copy in bf16.
void check_rounding() {
  constexpr std::int64_t m = 67, n = 45, k = 83;
  for (const bool transposed : {false, true}) {
    const Stored<float> a(m, k, transposed, 1, 1);
    const std::vector<bf16> rounded(a.memory.begin(), a.memory.end());
    const Stored<bf16> b(k, n, false, 0, 2);
    std::vector<float> from_float(m * n), from_bf16(m * n);
    cpu::gemm(m, n, k, a.matrix, b.matrix, from_float.data(), n, Float32Products::ieee);
    cpu::gemm(m, n, k, cpu::Matrix<bf16>{rounded.data(), a.matrix.stride, transposed}, b.matrix, from_bf16.data(), n,
              Float32Products::ieee);
    CHECK(from_float == from_bf16);
  }
}

template <class In, class Out>
std::vector<Out> product(int threads, Float32Products products) {
  constexpr std::int64_t m = 300, n = 257, k = 190;
  const Stored<In> a(m, k, true, 2, 1), b(k, n, false, 2, 2);
  std::vector<Out> y(static_cast<std::size_t>(m * n));
  const int before = thread_count();
  set_thread_count(threads);
  cpu::parallel_gemm<In, Out>(m, n, k, a.matrix, b.matrix, y.data(), n, products);
  set_thread_count(before);
  return y;
}

template <class In, class Out>
bool threads_agree(Float32Products products = Float32Products::ieee) {
  const auto one = product<In, Out>(1, products), two = product<In, Out>(2, products);
  return std::equal(one.begin(), one.end(), two.begin(),
                    [](Out p, Out q) { return static_cast<double>(p) == static_cast<double>(q); });
}

}  // namespace

TEST_CASE("gemm: float64 agrees with the naive product") { check_everything<double, double>(1e-13); }
TEST_CASE("gemm: float32 agrees with the naive product") { check_everything<float, float>(2e-6); }
TEST_CASE("gemm: bf16 agrees with the naive product, with a matrix unit and without") {
  const auto check = [] {
    check_everything<bf16, float>(2e-6);
    check_everything<bf16, bf16>(4e-3);
    check_long_sums<bf16, float>(2e-5);
    check_long_sums<bf16, bf16>(4e-3);
  };
  check();
  if (cpu::matrix_unit.multiply == nullptr) return;
  const WithoutMatrixUnit scope;
  check();
}

TEST_CASE("gemm: a float32 left factor of a bf16 product is rounded, with a matrix unit and without") {
  check_rounding();
  const WithoutMatrixUnit scope;
  check_rounding();
}

TEST_CASE("gemm: parts of a shared right factor give the bits of the matrix, with a matrix unit and without") {
  const auto check = [] {
    check_parts<double, double, double>();
    check_parts<float, float, float>();
    check_parts<bf16, bf16, bf16>();
    check_parts<float, bf16, float>();
    check_parts<float, float, float>(Float32Products::tf32);
  };
  check();
  const WithoutMatrixUnit scope;
  check();
}

TEST_CASE("gemm: tf32 keeps at least 16 bits of the factors") {
  constexpr Float32Products kTf32 = Float32Products::tf32;
  check_everything<float, float>(2e-5, kTf32);
  check_long_sums<float, float>(2e-4, kTf32);
  const bool exact = cpu::matrix_unit.multiply == nullptr;
  const float coarse = 1 + 0x1p-9f, fine = coarse + 0x1p-20f, expected = exact ? fine : coarse;
  CHECK(sum_of_products(fine, 1.0f, 1, kTf32) == expected);
  CHECK(sum_of_products(1.0f, fine, 1, kTf32) == expected);
  CHECK(sum_of_products(coarse + 0x1p-15f, 1.0f, 1, kTf32) == coarse + 0x1p-15f);
}

TEST_CASE("gemm: not-a-number stays what it is") {
  for (const auto products : {Float32Products::ieee, Float32Products::tf32}) {
    for (const std::uint32_t bits : {0x7fc00000u, 0x7fffffffu, 0xffffffffu, 0x7f800001u}) {
      const auto nan = std::bit_cast<float>(bits);
      CHECK(std::isnan(sum_of_products(nan, 0.0f, 40, products)));
      CHECK(std::isnan(sum_of_products(2.0f, nan, 1, products)));
      CHECK(std::isnan(sum_of_products(bf16(nan), bf16(0.0f), 40, products)));
    }
  }
}

TEST_CASE("gemm: a batch is its products one by one") {
  constexpr std::int64_t m = 5, n = 7, k = 3, count = 4;
  const Stored<float> a(count * m, k, false, 0, 1), b(count * k, n, false, 0, 2);
  std::vector<float> all(count * m * n), single(m * n);
  cpu::parallel_gemm<float, float>(m, n, k, a.matrix, b.matrix, all.data(), n, Float32Products::ieee,
                                   cpu::GemmMode::overwrite, {count, m * k, k * n, m * n});
  for (std::int64_t i = 0; i < count; ++i) {
    cpu::gemm<float, float, float>(m, n, k, a.matrix.at(i * m, 0), b.matrix.at(i * k, 0), single.data(), n,
                                   Float32Products::ieee);
    CHECK(std::equal(single.begin(), single.end(), all.begin() + i * m * n));
  }
}

TEST_CASE("gemm: one and two threads give the same bits") {
  CHECK(threads_agree<double, double>());
  CHECK(threads_agree<float, float>());
  CHECK(threads_agree<bf16, float>());
  CHECK(threads_agree<bf16, bf16>());
  CHECK(threads_agree<float, float>(Float32Products::tf32));
}
