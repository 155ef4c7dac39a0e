// What the generic op suite does not ask of causal attention: a cache of keys, the promised memory layouts, causality,
// and that the fused and the composed form are one function, with heads of any size.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/autograd.h"
#include "core/device.h"
#include "core/error.h"
#include "ops/causal_attention.h"
#include "ops/support/samples.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

namespace {

using Attention = decltype(&causal_attention);
constexpr double kScale = 0.375;

struct Extents {
  std::int64_t batches, queries, keys, heads, width;
};

std::vector<Tensor> make_inputs(const Extents& e, DType dtype, Device device = {}) {
  const auto [B, T, S, H, P] = e;
  std::vector<Tensor> inputs{random_tensor({B, T, H, P}, 1), random_tensor({B, S, H, P}, 2),
                             random_tensor({B, S, H, P}, 3)};
  for (Tensor& t : inputs) t = to_device(converted(t, dtype), device);
  return inputs;
}

// The output, then the gradients of q, k and v for one fixed dy.
std::vector<Tensor> output_and_gradients(Attention attention, std::span<const Tensor> inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& t : inputs) leaves.push_back(require_gradient(t.detach()));
  const Tensor y = attention(leaves[0], leaves[1], leaves[2], kScale, Float32Products::ieee);
  std::vector<Tensor> result = gradients(
      std::vector{y}, leaves, std::vector{to_device(converted(random_tensor(y.shape(), 9), y.dtype()), y.device())});
  result.insert(result.begin(), y);
  return result;
}

double largest(const Tensor& t) { return max_difference(t, Tensor::zeros(t.shape(), DType::float64)); }

}  // namespace

TEST_CASE("causal attention: tokens that come one by one see what they see together") {
  constexpr std::int64_t kTokens = 70, kBefore = 5;
  for (const Device device : available_devices())
    for (const auto& [dtype, tolerance] :
         {std::pair{DType::float64, 1e-14}, std::pair{DType::float32, 1e-6}, std::pair{DType::bf16, 1e-2}}) {
      const auto in = make_inputs({2, kTokens, kBefore + kTokens, 3, 16}, dtype, device);
      const Tensor together = causal_attention(in[0], in[1], in[2], kScale);
      for (std::int64_t t = 0; t < kTokens; ++t) {
        const auto filled = [&](const Tensor& cache) { return slice_view(cache, 1, 0, kBefore + t + 1); };
        const Tensor alone = causal_attention(slice_view(in[0], 1, t, t + 1), filled(in[1]), filled(in[2]), kScale);
        INFO(device_name(device), ", ", dtype_name(dtype), ", token ", t);
        CHECK(max_difference(alone, slice_view(together, 1, t, t + 1)) <= tolerance);
      }
    }
}

TEST_CASE("causal attention: the output and the gradients merge into rows without a copy") {
  for (const Extents& e : {Extents{2, 7, 9, 3, 5}, Extents{2, 1, 4, 2, 41}, Extents{3, 4, 4, 1, 16}}) {
    const auto results = output_and_gradients(causal_attention, make_inputs(e, DType::float32));
    for (std::size_t i = 0; i < 4; ++i) {
      const auto view = reshape_view(results[i].detach(), {e.batches, i < 2 ? e.queries : e.keys, e.heads * e.width});
      REQUIRE(view.has_value());
      CHECK(is_rows_form(*view));
      CHECK(view->strides()[0] % 4 == 0);
    }
  }
}

TEST_CASE("causal attention: inputs may be pieces of one projection's output") {
  const Tensor qkv = converted(random_tensor({2, 9, 3, 4, 8}, 1), DType::float32);  // [B, T, 3, H, P]
  for (const Device device : available_devices()) {
    const Tensor there = to_device(qkv, device);
    std::vector<Tensor> pieces, copies;
    for (std::int64_t i = 0; i < 3; ++i) {
      pieces.push_back(reshape_view(slice_view(there, 2, i, i + 1), {2, 9, 4, 8}).value());
      copies.push_back(clone(pieces.back()));
    }
    check_same_bits(output_and_gradients(causal_attention, pieces), output_and_gradients(causal_attention, copies));
  }
}

TEST_CASE("causal attention: a query sees nothing after itself") {
  const auto in = make_inputs({1, 70, 75, 2, 4}, DType::float32);
  const Tensor before = causal_attention(in[0], in[1], in[2], kScale), changed = clone(in[2]);
  fill(slice_view(changed, 1, 71, 75), 100);  // keys that queries 0 to 65 do not see
  const Tensor after = causal_attention(in[0], in[1], changed, kScale);
  CHECK(max_difference(slice_view(before, 1, 0, 66), slice_view(after, 1, 0, 66)) == 0);
  CHECK(max_difference(slice_view(before, 1, 66, 67), slice_view(after, 1, 66, 67)) > 1);
}

TEST_CASE("causal attention: large scores neither overflow nor vanish") {
  for (const Device device : available_devices()) {
    auto in = make_inputs({1, 70, 75, 2, 4}, DType::float32, device);
    std::vector<Tensor> exact;
    for (Tensor& t : in) exact.push_back(to_device(converted(t, DType::float64), {}));
    const Tensor got = causal_attention(in[0], in[1], in[2], 1000);
    CHECK(max_difference(got, causal_attention_composed(exact[0], exact[1], exact[2], 1000)) <= 1e-3);
  }
}

TEST_CASE("causal attention: on every device, heads of any size agree with the composed form in float64") {
  for (const Device device : available_devices())
    for (const Extents& e : {Extents{2, 70, 101, 2, 16}, Extents{1, 33, 33, 2, 24}, Extents{3, 65, 130, 2, 41},
                             Extents{1, 130, 200, 1, 48}, Extents{2, 64, 128, 1, 64}, Extents{1, 50, 67, 2, 72},
                             Extents{1, 40, 90, 2, 100}, Extents{1, 96, 96, 1, 128}, Extents{1, 20, 31, 2, 130},
                             Extents{2, 1, 70, 2, 64}, Extents{1, 9, 12, 1, 256}})
      for (const auto& [dtype, tolerance] :
           {std::pair{DType::float64, 1e-12}, std::pair{DType::float32, 1e-5}, std::pair{DType::bf16, 2e-2}}) {
        const auto inputs = make_inputs(e, dtype, device);
        std::vector<Tensor> exact_inputs;
        for (const Tensor& t : inputs) exact_inputs.push_back(converted(to_device(t, {}), DType::float64));
        const auto got = output_and_gradients(causal_attention, inputs);
        const auto exact = output_and_gradients(causal_attention_composed, exact_inputs);
        for (std::size_t i = 0; i < got.size(); ++i) {
          INFO(device_name(device), ", T = ", e.queries, ", S = ", e.keys, ", P = ", e.width, ", ", dtype_name(dtype),
               "; 0 is the output, 1 to 3 the gradients: ", i);
          CHECK(max_difference(got[i], exact[i]) <= tolerance * largest(exact[i]));
        }
      }
}

TEST_CASE("causal attention: a GPU says which heads are too large for it") {
  for (const Device device : available_devices()) {
    if (device.kind == DeviceKind::cpu) continue;
    const auto in = make_inputs({1, 2, 2, 1, 257}, DType::float32, device);
    CHECK_THROWS_WITH_AS(causal_attention(in[0], in[1], in[2], kScale),
                         doctest::Contains("heads of 257 elements; on a GPU a head may have up to 256"), ArgumentError);
  }
}
