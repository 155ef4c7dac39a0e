// Products with a matrix per group, and the experts made of them, with factors rounded to tf32: against float64
// products of factors that were rounded before, in natural and in reverse order.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/device.h"
#include "core/float32_products.h"
#include "cuda/emulator/launch.h"
#include "ops/expert_feedforward.h"
#include "ops/gather_rows.h"
#include "ops/grouped_matmul.h"
#include "ops/multiply.h"
#include "ops/relu.h"
#include "ops/reshape.h"
#include "ops/scatter_add_rows.h"
#include "ops/slice.h"
#include "ops/sort_by_expert.h"
#include "ops/support/samples.h"
#include "tests/unit/op_suite.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;
using namespace weir::tests;

namespace {

using Function = std::function<Tensor(std::span<const Tensor>, Float32Products)>;

Tensor mapped(const Tensor& t, const std::function<double(double)>& f) {
  std::vector<double> values = t.values();
  std::transform(values.begin(), values.end(), values.begin(), f);
  return Tensor::from_values(t.shape(), values);
}

// To 11 significant bits, to nearest, ties away from zero.
Tensor rounded(const Tensor& t) {
  return mapped(t, [](double value) {
    int exponent = 0;
    const double mantissa = std::frexp(value, &exponent);
    return std::ldexp(std::round(std::ldexp(mantissa, 11)), exponent - 11);
  });
}

// Multiples of 1/8 times 1 + 2^-12, which tf32 rounds to these: sums of their products are exact in float32.
Tensor near_grid(const Shape& shape, std::uint64_t seed) {
  return mapped(random_on_grid(shape, seed, 0), [](double value) { return value * (1 + 0x1p-12); });
}

// f(inputs), then the gradients of all inputs for the output gradient dy.
std::vector<Tensor> results(const Function& f, std::span<const Tensor> inputs, const Tensor& dy,
                            Float32Products products = Float32Products::ieee) {
  std::vector<Tensor> leaves;
  for (const Tensor& t : inputs) leaves.push_back(require_gradient(t.detach()));
  const std::vector<Tensor> y{f(leaves, products)}, dys{dy};
  std::vector<Tensor> all = gradients(y, leaves, dys);
  all.insert(all.begin(), y[0]);
  return all;
}

std::vector<Tensor> on_gpu(const Function& f, std::span<const Tensor> inputs, const Tensor& dy,
                           Float32Products products, emulator::Order order = emulator::Order::natural) {
  const auto moved = [](const Tensor& t) { return to_device(converted(t, DType::float32), {DeviceKind::cuda, 0}); };
  std::vector<Tensor> there;
  for (const Tensor& t : inputs) there.push_back(moved(t));
  emulator::set_order(order);
  std::vector<Tensor> all = results(f, there, moved(dy), products);
  emulator::set_order(emulator::Order::natural);
  return all;
}

// The largest difference, as a share of the largest value.
double distance(const Tensor& got, const Tensor& wanted) {
  const std::vector<double> a = got.values(), b = wanted.values();
  REQUIRE(a.size() == b.size());
  double difference = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= difference)) difference = std::abs(a[i] - b[i]);  // NaN as well
    largest = std::max(largest, std::abs(b[i]));
  }
  return difference == 0 ? 0 : difference / largest;
}

// With tf32, natural and reverse order give the same bits, and each result is another one than with ieee.
std::vector<Tensor> checked_results(const Function& f, std::span<const Tensor> inputs, const Tensor& dy) {
  const auto natural = on_gpu(f, inputs, dy, Float32Products::tf32);
  const auto reverse = on_gpu(f, inputs, dy, Float32Products::tf32, emulator::Order::reverse);
  const auto exact = on_gpu(f, inputs, dy, Float32Products::ieee);
  for (std::size_t i = 0; i < natural.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(natural[i], reverse[i]));
    CHECK(distance(natural[i], exact[i]) > 1e-5);
  }
  return natural;
}

}  // namespace

TEST_CASE("tf32: grouped products, and their gradients, are those of rounded factors") {
  const std::vector<double> offsets{0, 0, 129, 130, 130, 137};
  for (const auto& [d, g] : {std::pair<std::int64_t, std::int64_t>{412, 130}, {130, 41}, {41, 9}, {1, 1}})
    for (const bool cut : {false, true}) {
      INFO(fmt::format("D {} G {}{}", d, g, cut ? ", cut from wider rows" : ""));
      const auto product = [&](std::span<const Tensor> in, Float32Products products) {
        const Tensor x = cut ? slice(in[0], 1, 1, in[0].size(1)) : in[0];  // rows begin at no multiple of 16 bytes
        return grouped_matmul(x, in[1], to_device(Tensor::from_values({6}, offsets, DType::int64), x.device()),
                              products);
      };
      const std::vector<Tensor> inputs{random_tensor({137, d + cut}, 1), random_tensor({5, d, g}, 2)};
      const Tensor dy = random_tensor({137, g}, 3);
      const std::vector<Tensor> factors{rounded(inputs[0]), rounded(inputs[1])};
      const auto got = checked_results(product, inputs, dy), wanted = results(product, factors, rounded(dy));
      for (std::size_t i = 0; i < got.size(); ++i) CHECK(distance(got[i], wanted[i]) < 1e-6);
    }
}

TEST_CASE("tf32: experts are those of rounded factors, their gradients within tf32 the CPU's") {
  struct Sizes {
    std::int64_t n, d, experts, g, k;
  };
  for (const Sizes& s : {Sizes{70, 412, 5, 130, 2},
                         {33, 41, 6, 9, 4},
                         {150, 41, 1, 17, 1},
                         {5, 20, 20, 136, 3},
                         {600, 7, 2, 5, 4},
                         {1, 41, 3, 9, 3}}) {
    INFO(fmt::format("N {} D {} E {} G {} K {}", s.n, s.d, s.experts, s.g, s.k));
    const Tensor index = random_indices({s.n, s.k}, 4, s.experts, DType::int32);
    const auto experts = [&](std::span<const Tensor> in, Float32Products products) {
      return expert_feedforward(in[0], in[1], to_device(index, in[0].device()), in[2], in[3], {}, products);
    };
    const std::vector<Tensor> inputs{near_grid({s.n, s.d}, 5), random_tensor({s.n, s.k}, 6, 0.1, 1),
                                     near_grid({s.experts, s.d, s.g}, 7), near_grid({s.experts, s.g, s.d}, 8)};
    const Tensor dy = random_tensor({s.n, s.d}, 9);
    const auto got = checked_results(experts, inputs, dy), wanted = results(experts, inputs, dy);

    const ExpertOrder order = sort_by_expert(index, s.experts);
    const Tensor hidden = relu(
                     grouped_matmul(gather_rows(rounded(inputs[0]), order.tokens), rounded(inputs[2]), order.offsets)),
                 gates = gather_rows(reshape(inputs[1], {s.n * s.k, 1}), order.pairs),
                 expanded = grouped_matmul(rounded(hidden), rounded(inputs[3]), order.offsets) * gates;
    CHECK(distance(got[0], scatter_add_rows(expanded, order.tokens, s.n)) < 1e-6);
    for (std::size_t i = 1; i < got.size(); ++i) {
      CAPTURE(i);
      CHECK(distance(got[i], wanted[i]) < 0x1p-10);
    }
  }
}
