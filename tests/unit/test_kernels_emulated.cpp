// Every kernel on the emulated GPU, threads and blocks in natural and in reverse order: where a thread reads what
// another writes without a barrier, or a block what another block writes, the two orders differ.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/float32_products.h"
#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/launch.h"
#include "ops/balanced_assignment.h"
#include "ops/causal_attention.h"
#include "ops/expert_feedforward.h"
#include "ops/relative_attention.h"
#include "ops/support/samples.h"
#include "tests/child_process.h"
#include "tests/unit/op_suite.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;
using namespace weir::tests;

namespace {

std::vector<Tensor> in_order(emulator::Order order, const OpRecord& record, const Sample& sample, DType dtype) {
  emulator::set_order(order, 5);
  auto results = forward_and_gradients(sample, inputs_of(sample, dtype, {DeviceKind::cuda, 0}), record.differentiable);
  emulator::set_order(emulator::Order::natural);
  return results;
}

// Forward and backward, where the samples of the op's record are too small to reach all of a kernel.
void check_orders(const char* op, const Sample& sample, DType dtype) {
  const auto named = [op](const OpRecord& candidate) { return candidate.name == op; };
  const auto record = std::find_if(op_records().begin(), op_records().end(), named);
  REQUIRE(record != op_records().end());
  const std::vector<OpRecord> chosen = chosen_records();
  if (std::none_of(chosen.begin(), chosen.end(), named)) return;
  INFO(record->name, " / ", sample.name, " / ", std::string(dtype_name(dtype)));
  const auto natural = in_order(emulator::Order::natural, *record, sample, dtype);
  for (const Tensor& t : natural) {
    const std::vector<double> values = t.values();
    CHECK(std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); }));
  }
  check_same_bits(natural, in_order(emulator::Order::reverse, *record, sample, dtype));
  check_same_bits(natural, in_order(emulator::Order::random, *record, sample, dtype));
}

Sample attention_sample(std::int64_t queries, std::int64_t keys, std::int64_t heads, std::int64_t width) {
  return {.name = fmt::format("{} queries, {} keys, {} heads of {}", queries, keys, heads, width),
          .inputs = {random_tensor({1, queries, heads, width}, 1), random_tensor({1, keys, heads, 2, width}, 2),
                     random_tensor({keys, heads, width}, 3), random_tensor({heads, width}, 4),
                     random_tensor({heads, width}, 5), Tensor::full({1}, 0.4, DType::float64)},
          .run = [](std::span<const Tensor> in) -> std::vector<Tensor> {
            return {relative_attention(in[0], in[1], in[2], in[3], in[4], in[5])};
          },
          .reference = nullptr};
}

Sample causal_attention_sample(std::int64_t queries, std::int64_t keys, std::int64_t heads, std::int64_t width) {
  return {.name = fmt::format("{} queries, {} keys, {} heads of {}", queries, keys, heads, width),
          .inputs = {random_tensor({1, queries, heads, width}, 1), random_tensor({1, keys, heads, width}, 2),
                     random_tensor({1, keys, heads, width}, 3)},
          .run = [](std::span<const Tensor> in) -> std::vector<Tensor> {
            return {causal_attention(in[0], in[1], in[2], 0.4)};
          },
          .reference = nullptr};
}

// `lean` pulls all tokens to the first experts, so that many find theirs full.
Sample assignment_sample(std::int64_t tokens, std::int64_t experts, double lean) {
  std::vector<double> scores = random_tensor({tokens, experts}, 1).values();
  for (std::size_t i = 0; i < scores.size(); ++i)
    scores[i] -= lean * static_cast<double>(i % static_cast<std::size_t>(experts));
  return {.name = fmt::format("{} tokens, {} experts, leaning by {}", tokens, experts, lean),
          .inputs = {Tensor::from_values({tokens, experts}, scores)},
          .run = [](std::span<const Tensor> in) -> std::vector<Tensor> {
            const BalancedAssignment result = balanced_assignment(in[0]);
            return {result.expert, result.price};
          },
          .reference = nullptr};
}

Sample experts_sample(std::int64_t n, std::int64_t d, std::int64_t experts, std::int64_t g, std::int64_t k,
                      Float32Products products = Float32Products::ieee) {
  return {.name = fmt::format("N {} D {} E {} G {} K {}", n, d, experts, g, k),
          .inputs = {random_tensor({n, d}, 1), random_tensor({n, k}, 2, 0.1, 1),
                     random_indices({n, k}, 3, experts, DType::int32), random_tensor({experts, d, g}, 4),
                     random_tensor({experts, g, d}, 5)},
          .run = [products](std::span<const Tensor> in) -> std::vector<Tensor> {
            return {expert_feedforward(in[0], in[1], in[2], in[3], in[4], {}, products)};
          },
          .reference = nullptr};
}

}  // namespace

TEST_CASE("kernels: natural and reverse order of threads and blocks give the same bits") {
  for (const OpRecord& record : chosen_records()) {
    for (const Sample& sample : record.samples())
      for (DType dtype : {DType::float32, DType::bf16}) {
        if (dtype == DType::bf16 && !record.low_precision) continue;
        INFO(record.name, " / ", sample.name, " / ", std::string(dtype_name(dtype)));
        check_same_bits(in_order(emulator::Order::natural, record, sample, dtype),
                        in_order(emulator::Order::reverse, record, sample, dtype));
      }
  }
}

TEST_CASE("kernels: attention gives the same bits in any order, with each width of its tiles") {
  for (const Sample& sample : {attention_sample(40, 75, 2, 32), attention_sample(70, 101, 1, 64),
                               attention_sample(100, 140, 1, 96), attention_sample(33, 64, 2, 128)})
    check_orders("relative_attention", sample, DType::bf16);
  check_orders("relative_attention", attention_sample(33, 64, 1, 256), DType::float32);
}

TEST_CASE("kernels: causal attention gives the same bits in any order, with each width of its tiles") {
  for (const Sample& sample : {causal_attention_sample(40, 75, 2, 32), causal_attention_sample(70, 101, 1, 64),
                               causal_attention_sample(100, 140, 1, 96), causal_attention_sample(33, 64, 2, 128)})
    check_orders("causal_attention", sample, DType::bf16);
  check_orders("causal_attention", causal_attention_sample(33, 64, 1, 256), DType::float32);
}

TEST_CASE("kernels: balanced assignment gives the same bits in any order where it begins with a sample") {
  for (const double lean : {0.0, 0.3})
    check_orders("balanced_assignment", assignment_sample(257, 8, lean), DType::float32);
}

TEST_CASE("kernels: experts give the same bits in any order where their products take several steps") {
  const Sample sample = experts_sample(300, 412, 5, 130, 2);
  for (const DType dtype : {DType::float32, DType::bf16}) check_orders("expert_feedforward", sample, dtype);
  INFO("tf32");
  check_orders("expert_feedforward", experts_sample(300, 412, 5, 130, 2, Float32Products::tf32), DType::float32);
}

TEST_CASE("kernels: device memory is closed to the host") {
  const Tensor t = Tensor::full({4}, 1.5, DType::float32, {DeviceKind::cuda, 0});
  CHECK(t.values() == std::vector<double>(4, 1.5));
  const auto end_of_reading = [&t](bool with_access) {
    return end_of_child([&t, with_access] {
      std::optional<emulator::DeviceAccess> access;
      if (with_access) access.emplace();
      const volatile float* const element = t.data<float>();
      if (*element != 1.5f) _exit(1);
    });
  };
  const ChildEnd allowed = end_of_reading(true);
  CHECK(allowed.signal == 0);
  CHECK(allowed.exit_code == 0);
  if (emulator::is_fenced())
    CHECK(end_of_reading(false).signal == SIGSEGV);
  else
    MESSAGE("this processor has no protection keys, so a stray access of the host goes unnoticed");
}
