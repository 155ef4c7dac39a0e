// Sorting and choosing on the emulated GPU against the CPU, where the op suite's samples do not reach: ties, NaN, many
// keys, mixed precision, tokens enough for several rounds of an assignment.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/autograd.h"
#include "cuda/sort.h"
#include "ops/balanced_assignment.h"
#include "ops/embedding.h"
#include "ops/gather_sum.h"
#include "ops/keep_top_k.h"
#include "ops/product_key_search.h"
#include "ops/support/samples.h"
#include "ops/top_k.h"
#include "tests/unit/op_suite.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;
using namespace weir::tests;

namespace {

constexpr Device kGpu{DeviceKind::cuda, 0};

// Few different values, so that there are ties; zeros of both signs, NaN and infinities.
Tensor awkward(const Shape& shape, std::uint64_t seed) {
  std::vector<double> values = random_tensor(shape, seed, -4, 4).values();
  for (double& v : values) {
    v = std::round(v);
    if (v == 4) v = std::numeric_limits<double>::quiet_NaN();
    if (v == -4) v = -std::numeric_limits<double>::infinity();
  }
  return Tensor::from_values(shape, values, DType::float32);
}

void check_sort(std::int64_t count, std::int64_t largest) {
  const Tensor keys = random_indices({count}, 5, largest + 1, DType::int32);
  const cuda::SortedKeys sorted = cuda::stable_sort(to_device(keys, kGpu), largest);
  const std::vector<double> key = keys.values();
  std::vector<double> order(key.size());
  std::iota(order.begin(), order.end(), 0.0);
  const auto key_of = [&](double position) { return key[static_cast<std::size_t>(position)]; };
  std::stable_sort(order.begin(), order.end(), [&](double a, double b) { return key_of(a) < key_of(b); });
  CHECK(sorted.positions.values() == order);
  std::vector<double> sorted_keys(key.size());
  std::transform(order.begin(), order.end(), sorted_keys.begin(), key_of);
  CHECK(sorted.keys.values() == sorted_keys);

  const Tensor offsets = Tensor::empty({largest + 2}, DType::int64, kGpu);
  cuda::find_offsets(sorted.keys, offsets);
  const std::vector<double> found = offsets.values();
  bool right = true;
  for (std::size_t v = 0; v < found.size(); ++v)
    right &= found[v] ==
             static_cast<double>(std::lower_bound(sorted_keys.begin(), sorted_keys.end(), static_cast<double>(v)) -
                                 sorted_keys.begin());
  CHECK(right);
}

}  // namespace

TEST_CASE("sort on a GPU: stable, for one key and for a million") {
  for (const auto& [count, largest] : {std::pair<std::int64_t, std::int64_t>{1, 0},
                                       {4096, 1},
                                       {4097, 255},
                                       {9000, 256},
                                       {20000, 70000},
                                       {5000, (1 << 20) - 1}}) {
    INFO(count, " keys up to ", largest);
    check_sort(count, largest);
  }
}

TEST_CASE("choosing on a GPU: ties, NaN and zeros are resolved as on the CPU") {
  const Tensor x = awkward({40, 97}, 1), a = awkward({40, 33}, 2), b = awkward({40, 29}, 3);
  const Tensor gx = to_device(x, kGpu), ga = to_device(a, kGpu), gb = to_device(b, kGpu);
  for (const std::int64_t k : {1, 5, 33, 97}) {
    INFO("k = ", k);
    CHECK(same_bits(top_k(x, k).indices, top_k(gx, k).indices));
    CHECK(same_bits(top_k(x, k).values, top_k(gx, k).values));
    CHECK(same_bits(keep_top_k(x, k), keep_top_k(gx, k)));
    CHECK(same_bits(product_key_search(a, b, k).indices, product_key_search(ga, gb, k).indices));
    CHECK(same_bits(product_key_search(a, b, k).scores, product_key_search(ga, gb, k).scores));
  }
}

TEST_CASE("choosing on a GPU: lists that shared memory cannot hold") {
  const Tensor x = random_tensor({3, 2000}, 4), a = random_tensor({2, 90}, 5), b = random_tensor({2, 80}, 6);
  CHECK(same_bits(top_k(x, 1500).indices, top_k(to_device(x, kGpu), 1500).indices));
  CHECK(same_bits(product_key_search(a, b, 800).indices,
                  product_key_search(to_device(a, kGpu), to_device(b, kGpu), 800).indices));
}

TEST_CASE("balanced assignment on a GPU is the CPU's") {
  for (const auto& [tokens, experts, step] :
       {std::array<std::int64_t, 3>{300, 5, 0}, {203, 3, 0}, {400, 4, 8}, {70, 300, 4}}) {
    std::vector<double> values = random_tensor({tokens, experts}, 7).values();
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] -= 0.2 * static_cast<double>(i % static_cast<std::size_t>(experts));
      if (step > 0) values[i] = std::round(values[i] * static_cast<double>(step));  // ties
    }
    values[3] = std::numeric_limits<double>::quiet_NaN();
    const Tensor scores = Tensor::from_values({tokens, experts}, values, DType::float32);
    const BalancedAssignment cpu = balanced_assignment(scores), gpu = balanced_assignment(to_device(scores, kGpu));
    INFO(tokens, " tokens, ", experts, " experts");
    CHECK(same_bits(cpu.expert, gpu.expert));
    CHECK(same_bits(cpu.price, gpu.price));
  }
}

TEST_CASE("rows by index on a GPU: float32 tables beside bf16") {
  const Tensor table = converted(random_tensor({11, 37}, 8), DType::float32);
  const Tensor index = random_indices({30, 9}, 9, 11, DType::int32);
  const Tensor weight = converted(random_tensor({30, 9}, 10), DType::bf16);
  std::vector<std::vector<Tensor>> results;
  for (const Device device : {Device{}, kGpu}) {
    const Tensor v = require_gradient(to_device(table, device).detach()),
                 w = require_gradient(to_device(weight, device).detach());
    const Tensor y = gather_sum(w, to_device(index, device), v),
                 e = embedding(v, to_device(index, device), DType::bf16);
    const auto dy = [&](const Tensor& t) { return std::vector{Tensor::full(t.shape(), 0.5, DType::bf16, device)}; };
    const std::vector<Tensor> sums = gradients(std::vector{y}, std::vector{v, w}, dy(y));
    results.push_back({y, e, sums[0], sums[1], gradients(std::vector{e}, std::vector{v}, dy(e))[0]});
  }
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    const std::vector<double> cpu = results[0][i].values(), gpu = results[1][i].values();
    double difference = 0;
    for (std::size_t j = 0; j < cpu.size(); ++j)
      difference = std::max(difference, std::abs(cpu[j] - gpu[j]) / std::max(1.0, std::abs(cpu[j])));
    CHECK(difference < (results[0][i].dtype() == DType::bf16 ? 1e-2 : 1e-6));
  }
}

TEST_CASE("rows by index on a GPU: rows wider than a block") {
  const Tensor weight = random_tensor({20, 6}, 14), values = random_tensor({5, 1500}, 15);
  const Tensor index = random_indices({20, 6}, 16, 5, DType::int32);
  std::vector<std::vector<Tensor>> results;
  for (const Device device : {Device{}, kGpu}) {
    const Tensor w = require_gradient(to_device(weight, device).detach()),
                 v = require_gradient(to_device(values, device).detach());
    const Tensor y = gather_sum(w, to_device(index, device), v);
    results.push_back(gradients(std::vector{y}, std::vector{w, v}, std::vector{y.detach()}));
  }
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    const std::vector<double> cpu = results[0][i].values(), gpu = results[1][i].values();
    for (std::size_t j = 0; j < cpu.size(); ++j) REQUIRE(cpu[j] == doctest::Approx(gpu[j]).epsilon(1e-12));
  }
}

TEST_CASE("rows by index on a GPU: gradients add to a leaf's in place") {
  std::vector<std::vector<double>> sums;
  for (const Device device : {Device{}, kGpu}) {
    const Tensor v = require_gradient(to_device(random_tensor({7, 5}, 11), device));
    const Tensor w = to_device(random_tensor({200, 3}, 12), device);
    const Tensor index = to_device(random_indices({200, 3}, 13, 5, DType::int32), device);
    for (int step = 0; step < 2; ++step) {
      const Tensor y = gather_sum(w, index, v);
      backward(std::vector{y}, std::vector{Tensor::full(y.shape(), 0.5, DType::float64, device)});
    }
    sums.push_back(gradient(v).values());
  }
  REQUIRE(sums[0].size() == sums[1].size());
  for (std::size_t i = 0; i < sums[0].size(); ++i) CHECK(sums[0][i] == doctest::Approx(sums[1][i]).epsilon(1e-12));
}
