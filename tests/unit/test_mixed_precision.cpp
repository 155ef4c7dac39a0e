// bf16 activations beside float32 parameters: the ops that allow it against themselves in float64, on the values that
// bf16 holds exactly, and the dtypes of their gradients.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autograd/autograd.h"
#include "ops/embedding.h"
#include "ops/gather_sum.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/residual_layer_norm.h"
#include "ops/support/samples.h"

using namespace weir;

namespace {

struct Results {
  Tensor y;
  std::vector<Tensor> gradients;  // one per input
};

Results run(const TensorFunction& op, std::vector<Tensor> inputs, const Tensor& dy) {
  for (Tensor& t : inputs) require_gradient(t = t.detach());
  const std::vector<Tensor> y = op(inputs);
  const Tensor converted_dy = converted(dy, y[0].dtype());
  return {y[0].detach(), gradients(y, inputs, std::span(&converted_dy, 1))};
}

double distance(const Tensor& a, const Tensor& b) {
  const auto x = a.values(), y = b.values();
  REQUIRE(x.size() == y.size());
  double scale = 1, worst = 0;
  for (double v : y) scale = std::max(scale, std::abs(v));
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst / scale;
}

// inputs[0 .. activations) become bf16, the rest float32. `exact` is the tolerance of parameter gradients, which keep
// float32 sums of bf16 values.
void check_mixed(const TensorFunction& op, const std::vector<Tensor>& inputs, std::size_t activations, double exact) {
  std::vector<Tensor> mixed, precise;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor rounded = converted(inputs[i], DType::bf16);
    mixed.push_back(i < activations ? rounded : converted(rounded, DType::float32));
    precise.push_back(converted(rounded, DType::float64));
  }
  const Tensor y = op(precise)[0];
  const Tensor dy = converted(converted(random_tensor(y.shape(), 99), DType::bf16), DType::float64);
  const Results got = run(op, mixed, dy), expected = run(op, precise, dy);
  CHECK(got.y.dtype() == DType::bf16);
  CHECK(distance(got.y, expected.y) < 1e-2);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    INFO("gradient of input ", i);
    CHECK(got.gradients[i].dtype() == mixed[i].dtype());
    CHECK(got.gradients[i].shape() == mixed[i].shape());
    CHECK(distance(got.gradients[i], expected.gradients[i]) < (i < activations ? 1e-2 : exact));
  }
}

}  // namespace

TEST_CASE("mixed precision: linear") {
  const auto op = [](std::span<const Tensor> in) { return std::vector{linear(in[0], in[1], in[2])}; };
  check_mixed(op, {random_tensor({3, 90, 33}, 1), random_tensor({17, 33}, 2), random_tensor({17}, 3)}, 1, 1e-5);
}

TEST_CASE("mixed precision: linear with relu") {
  const auto op = [](std::span<const Tensor> in) { return std::vector{linear(in[0], in[1], in[2], Activation::relu)}; };
  // Biases far from zero, so that rounding moves no element across the kink.
  const Tensor bias = Tensor::from_values({4}, std::vector<double>{9, -9, 8, -8});
  check_mixed(op, {random_tensor({30, 7}, 1), random_tensor({4, 7}, 2), bias}, 1, 1e-5);
}

TEST_CASE("mixed precision: layer_norm") {
  const auto op = [](std::span<const Tensor> in) { return std::vector{layer_norm(in[0], in[1], in[2])}; };
  check_mixed(op, {random_tensor({300, 41}, 1), random_tensor({41}, 2), random_tensor({41}, 3)}, 1, 1e-5);
}

TEST_CASE("mixed precision: residual_layer_norm") {
  const auto op = [](std::span<const Tensor> in) {
    return std::vector{residual_layer_norm(in[0], in[1], in[2], in[3], 1e-5, 0, {}).normed};
  };
  check_mixed(
      op, {random_tensor({300, 41}, 1), random_tensor({300, 41}, 2), random_tensor({41}, 3), random_tensor({41}, 4)}, 2,
      1e-2);
}

TEST_CASE("mixed precision: embedding") {
  const Tensor ids = random_indices({40}, 5, 6);
  const auto op = [ids](std::span<const Tensor> in) {
    return std::vector{embedding(in[0], ids, in[0].dtype() == DType::float32 ? DType::bf16 : DType::float64)};
  };
  check_mixed(op, {random_tensor({6, 9}, 1)}, 0, 1e-6);
}

TEST_CASE("mixed precision: gather_sum") {
  const Tensor index = random_indices({30, 5}, 5, 6, DType::int32);
  const auto op = [index](std::span<const Tensor> in) { return std::vector{gather_sum(in[0], index, in[1])}; };
  check_mixed(op, {random_tensor({30, 5}, 1), random_tensor({6, 9}, 2)}, 1, 1e-6);
}
