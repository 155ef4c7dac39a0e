// What the generic op suite does not ask of relative attention: mixed dtypes, the promised memory layouts, causality,
// and that the fused and the composed form are one function.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autograd/autograd.h"
#include "core/device.h"
#include "core/error.h"
#include "ops/relative_attention.h"
#include "ops/support/samples.h"

using namespace weir;

namespace {

using Attention = decltype(&relative_attention);

struct Extents {
  std::int64_t batches, queries, keys, heads, width;
};

std::vector<Tensor> make_inputs(const Extents& e, DType activations, DType parameters) {
  const auto [B, T, S, H, P] = e;
  return {
      converted(random_tensor({B, T, H, P}, 1), activations), converted(random_tensor({B, S, H, 2, P}, 2), activations),
      converted(random_tensor({S, H, P}, 3), activations),    converted(random_tensor({H, P}, 4), parameters),
      converted(random_tensor({H, P}, 5), parameters),        Tensor::full({1}, 0.375, parameters)};
}

// The output, then the gradient of every input for one fixed dy.
std::vector<Tensor> output_and_gradients(Attention attention, std::span<const Tensor> inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& t : inputs) leaves.push_back(require_gradient(t.detach()));
  const Tensor y = attention(leaves[0], leaves[1], leaves[2], leaves[3], leaves[4], leaves[5], Float32Products::ieee);
  std::vector<Tensor> result = gradients(
      std::vector{y}, leaves, std::vector{to_device(converted(random_tensor(y.shape(), 9), y.dtype()), y.device())});
  result.insert(result.begin(), y.detach());
  return result;
}

double largest(const Tensor& t) {
  double result = 0;
  for (double v : t.values()) result = std::max(result, std::abs(v));
  return result;
}

// The largest difference of two elements; infinite where one is not a number.
double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.values(), y = b.values();
  double result = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = std::abs(x[i] - y[i]);
    result = std::max(result, std::isnan(difference) ? INFINITY : difference);
  }
  return result;
}

}  // namespace

TEST_CASE("attention: bf16 activations go with float32 parameters") {
  const auto inputs = make_inputs({2, 70, 81, 3, 5}, DType::bf16, DType::float32);
  std::vector<Tensor> exact_inputs;
  for (const Tensor& t : inputs) exact_inputs.push_back(converted(t, DType::float64));
  const auto got = output_and_gradients(relative_attention, inputs);
  const auto exact = output_and_gradients(relative_attention, exact_inputs);
  for (std::size_t i = 0; i < got.size(); ++i) {
    INFO("0 is the output, 1 to 6 the gradients: ", i);
    CHECK(got[i].dtype() == (i < 4 ? DType::bf16 : DType::float32));
    CHECK(distance(got[i], exact[i]) <= 2e-2 * std::max(1.0, largest(exact[i])));
  }
}

TEST_CASE("attention: the output and the gradients of q, kv and r merge into rows without a copy") {
  for (const Extents& e : {Extents{2, 7, 9, 3, 5}, Extents{2, 1, 4, 2, 41}, Extents{3, 4, 4, 1, 16}}) {
    const auto results = output_and_gradients(relative_attention, make_inputs(e, DType::float32, DType::float32));
    const Shape merged[] = {{e.batches, e.queries, e.heads * e.width},
                            {e.batches, e.queries, e.heads * e.width},
                            {e.batches, e.keys, e.heads * 2 * e.width},
                            {e.keys, e.heads * e.width}};
    for (std::size_t i = 0; i < 4; ++i) {
      const auto view = reshape_view(results[i], merged[i]);
      REQUIRE(view.has_value());
      CHECK(is_rows_form(*view));
      CHECK(view->strides()[0] % 4 == 0);
    }
  }
}

TEST_CASE("attention: inputs may be pieces of the projections' outputs") {
  const Extents e{2, 5, 8, 3, 5};
  auto inputs = make_inputs(e, DType::float32, DType::float32);
  const auto expected = output_and_gradients(relative_attention, inputs);
  for (std::size_t i = 0; i < 3; ++i) {
    const int first = i == 2 ? 1 : 2;
    Shape merged;
    for (int a = 0; a < first; ++a) merged.push_back(inputs[i].size(a));
    merged.push_back(inputs[i].numel() / std::max<std::int64_t>(1, merged.product()));
    const Tensor row = clone(*reshape_view(clone(reshaped(inputs[i], {inputs[i].numel()})), merged));
    inputs[i] = reshape_view(row, inputs[i].shape()).value();
  }
  const auto got = output_and_gradients(relative_attention, inputs);
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(distance(got[i], expected[i]) == 0);
}

TEST_CASE("attention: a query sees nothing after itself") {
  const Extents e{1, 70, 75, 2, 4};
  auto inputs = make_inputs(e, DType::float32, DType::float32);
  const Tensor before = relative_attention(inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], inputs[5]);
  const std::int64_t seen = 66 + e.keys - e.queries;  // keys that queries 0 to 65 see
  const Tensor changed = clone(inputs[1]);
  fill(slice_view(changed, 1, seen, e.keys), 100);
  const Tensor after = relative_attention(inputs[0], changed, inputs[2], inputs[3], inputs[4], inputs[5]);
  CHECK(distance(slice_view(before, 1, 0, 66), slice_view(after, 1, 0, 66)) == 0);
  CHECK(distance(slice_view(before, 1, 66, 67), slice_view(after, 1, 66, 67)) > 1);
}

TEST_CASE("attention: the fused and the composed form agree, with all gradients") {
  for (const Extents& e : {Extents{2, 9, 9, 3, 5}, Extents{2, 70, 93, 3, 5}, Extents{2, 1, 9, 3, 41},
                           Extents{1, 130, 200, 2, 41}, Extents{3, 64, 64, 3, 8}})
    for (const auto& [dtype, tolerance] : {std::pair{DType::float64, 1e-12}, std::pair{DType::float32, 2e-5}}) {
      const auto inputs = make_inputs(e, dtype, dtype);
      const auto fused = output_and_gradients(relative_attention, inputs);
      const auto composed = output_and_gradients(relative_attention_composed, inputs);
      for (std::size_t i = 0; i < fused.size(); ++i) {
        INFO("T = ", e.queries, ", S = ", e.keys, ", ", dtype_name(dtype),
             "; 0 is the output, 1 to 6 the gradients: ", i);
        CHECK(distance(fused[i], composed[i]) <= tolerance * std::max(1.0, largest(composed[i])));
      }
    }
}

TEST_CASE("attention: on every device, heads of any size agree with float64 on the CPU") {
  for (const Device device : available_devices())
    for (const Extents& e : {Extents{2, 70, 101, 2, 16}, Extents{1, 33, 33, 2, 24}, Extents{3, 65, 130, 2, 41},
                             Extents{1, 130, 200, 1, 48}, Extents{2, 64, 128, 1, 64}, Extents{1, 50, 67, 2, 72},
                             Extents{1, 40, 90, 2, 100}, Extents{1, 96, 96, 1, 128}, Extents{1, 20, 31, 2, 130},
                             Extents{1, 9, 12, 1, 256}})
      for (const auto& [dtype, tolerance] : {std::pair{DType::float32, 1e-5}, std::pair{DType::bf16, 2e-2}}) {
        std::vector<Tensor> inputs, exact_inputs;
        for (const Tensor& t : make_inputs(e, dtype, dtype)) {
          exact_inputs.push_back(converted(t, DType::float64));
          inputs.push_back(to_device(t, device));
        }
        const auto got = output_and_gradients(relative_attention, inputs);
        const auto exact = output_and_gradients(relative_attention, exact_inputs);
        for (std::size_t i = 0; i < got.size(); ++i) {
          INFO(device_name(device), ", T = ", e.queries, ", S = ", e.keys, ", P = ", e.width, ", ", dtype_name(dtype),
               "; 0 is the output, 1 to 6 the gradients: ", i);
          // The gradient of scale is a sum over all pairs, most of which cancels: an error per query is allowed.
          const double allowed =
              i == 6 ? 2.0 * static_cast<double>(e.batches * e.queries * e.heads) : largest(exact[i]);
          CHECK(distance(got[i], exact[i]) <= tolerance * allowed);
        }
      }
}

TEST_CASE("attention: a GPU says which heads are too large for it") {
  for (const Device device : available_devices()) {
    if (device.kind == DeviceKind::cpu) continue;
    std::vector<Tensor> in;
    for (const Tensor& t : make_inputs({1, 2, 2, 1, 257}, DType::float32, DType::float32))
      in.push_back(to_device(t, device));
    CHECK_THROWS_WITH_AS(relative_attention(in[0], in[1], in[2], in[3], in[4], in[5]),
                         doctest::Contains("heads of 257 elements; on a GPU a head may have up to 256"), ArgumentError);
  }
}
