// The recorded graph and its reverse walk, beyond what every op's own gradient check covers.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "autograd/accumulate.h"
#include "autograd/autograd.h"
#include "autograd/backward.h"
#include "autograd/grad_check.h"
#include "ops/add.h"
#include "ops/dropout.h"
#include "ops/gather_sum.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/relu.h"
#include "ops/scale.h"
#include "ops/softmax.h"
#include "ops/square.h"
#include "ops/sum.h"
#include "ops/support/samples.h"
#include "tensor_checks.h"

using namespace weir;

namespace {

Tensor leaf(const std::vector<double>& values, DType dtype = DType::float64) {
  return require_gradient(Tensor::from_values({static_cast<std::int64_t>(values.size())}, values, dtype));
}

Tensor random_leaf(const Shape& shape, std::uint64_t seed, DType dtype = DType::float32) {
  return require_gradient(converted(random_tensor(shape, seed), dtype));
}

std::vector<Tensor> gradients_of(const Tensor& y, const std::vector<Tensor>& inputs, GradientOptions options = {}) {
  const Tensor one = Tensor::full(y.shape(), 1, y.dtype());
  return gradients(std::span(&y, 1), inputs, std::span(&one, 1), options);
}

}  // namespace

TEST_CASE("backward adds to a leaf's gradient") {
  const Tensor x = leaf({1, 2});
  CHECK_FALSE(gradient(x).defined());
  backward(sum(scale(x, 3)));
  CHECK(gradient(x).values() == std::vector<double>{3, 3});
  backward(sum(x * x));
  CHECK(gradient(x).values() == std::vector<double>{5, 7});
  clear_gradient(x);
  CHECK_FALSE(gradient(x).defined());
}

TEST_CASE("backward adds to a gradient buffer in place") {
  const Tensor arena = Tensor::full({4}, 10, DType::float64);
  const Tensor x = leaf({1, 2}), buffer = arena.strided({2}, {1}, 1);
  set_gradient_buffer(x, buffer);
  backward(sum(x * x));
  CHECK(arena.values() == std::vector<double>{10, 12, 14, 10});
  CHECK(gradient(x).same_view(buffer));
  CHECK(error_message([&] { set_gradient_buffer(x, arena); }).find("shape [2]") != std::string::npos);
}

TEST_CASE("a gradient kept by the caller is not written to") {
  const Tensor x = leaf({1, 2}), dy = Tensor::full({2}, 1, DType::float64);
  const Tensor y = add(x, x);
  backward(std::span(&y, 1), std::span(&dy, 1));
  CHECK(gradient(x).values() == std::vector<double>{2, 2});
  CHECK(dy.values() == std::vector<double>{1, 1});
}

TEST_CASE("a shared subexpression counts once per use") {
  const Tensor x = leaf({2, -1});
  const Tensor shared = x * x;
  backward(sum(shared * shared + shared));  // x^4 + x^2
  CHECK(gradient(x).values() == std::vector<double>{4 * 8 + 2 * 2, -4 - 2});
}

TEST_CASE("without gradients nothing is recorded") {
  const Tensor x = leaf({1, 2});
  {
    const NoGradient guard;
    CHECK_FALSE(gradients_enabled());
    CHECK_FALSE(requires_gradient(x * x));
    {
      const GradientMode again(true);
      CHECK(requires_gradient(x * x));
    }
    CHECK_FALSE(gradients_enabled());
  }
  CHECK(gradients_enabled());
  CHECK(requires_gradient(x * x));
  CHECK_FALSE(requires_gradient(x.detach() * x.detach()));
  CHECK(error_message([&] { backward(sum(x.detach())); }).find("does not depend") != std::string::npos);
}

TEST_CASE("a released graph is refused, a kept one walks again") {
  const Tensor x = leaf({3});
  const Tensor y = sum(x * x);
  CHECK(gradients_of(y, {x}, {.keep_graph = true})[0].item() == 6);
  CHECK(gradients_of(y, {x})[0].item() == 6);
  const std::string message = error_message([&] { backward(y); });
  CHECK(message.find("released by an earlier backward") != std::string::npos);
  CHECK(message.find("keep_graph") != std::string::npos);
}

TEST_CASE("a gradient can be differentiated again") {
  const Tensor x = leaf({2, -3});
  const Tensor y = sum(x * x * x);
  const Tensor first = gradients_of(y, {x}, {.create_graph = true})[0];
  CHECK(first.values() == std::vector<double>{12, 27});
  const Tensor second = gradients_of(sum(first), {x}, {.create_graph = true})[0];
  CHECK(second.values() == std::vector<double>{12, -18});
  CHECK(gradients_of(sum(second), {x})[0].values() == std::vector<double>{6, 6});
}

TEST_CASE("gradients are returned, not accumulated, and zero where an input has no influence") {
  const Tensor x = leaf({1, 2}), unused = leaf({5, 6, 7});
  const Tensor middle = x * x;
  const auto dx = gradients_of(sum(scale(middle, 2)), {x, unused, middle});
  CHECK(dx[0].values() == std::vector<double>{4, 8});
  CHECK(dx[1].values() == std::vector<double>{0, 0, 0});
  CHECK(dx[2].values() == std::vector<double>{2, 2});
  CHECK_FALSE(gradient(x).defined());
}

TEST_CASE("add_into adds to any view and to nothing beside it, on every device") {
  for (const Device device : available_devices())
    for (DType dtype : {DType::float64, DType::float32, DType::bf16}) {
      INFO(device_name(device), ", ", dtype_name(dtype));
      const Tensor wide = Tensor::full({3, 9}, 0.5, dtype, device), columns = slice_view(wide, 1, 1, 6);  // [3, 5]
      std::vector<double> values(15), expected(27, 0.5);
      for (std::size_t i = 0; i < 15; ++i)
        values[i] = static_cast<double>(i), expected[i / 5 * 9 + 1 + i % 5] += values[i];
      add_into(Tensor::from_values({3, 5}, values, dtype, device), columns);
      CHECK(wide.values() == expected);
      // Both transposed, and twice: to += from accumulates.
      const Tensor square = Tensor::from_values({2, 2}, std::vector<double>{1, 2, 3, 4}, dtype, device);
      const Tensor to = Tensor::zeros({2, 2}, dtype, device);
      for (int i = 0; i < 2; ++i) add_into(square, transpose_view(to, 0, 1));
      CHECK(to.values() == std::vector<double>{2, 6, 4, 8});
    }
}

TEST_CASE("checkpoint gives the same bits as recording, dropout included") {
  const Tensor w1 = random_leaf({24, 16}, 1), w2 = random_leaf({16, 24}, 2), x = random_leaf({6, 16}, 3);
  const auto block = [&](std::span<const Tensor> in) {
    const Tensor hidden = dropout(linear(in[0], w1, {}, Activation::relu), 0.3, {5, 1, 2});
    const Tensor y = dropout(linear(hidden, w2), 0.2, {5, 2, 2});
    return std::vector{y + in[0], softmax(y)};
  };
  const auto run = [&](bool checkpointed) {
    for (const Tensor& t : {w1, w2, x}) clear_gradient(t);
    const Tensor in = scale(x, 1.25);
    const auto out = checkpointed ? checkpoint(block, std::span(&in, 1)) : block(std::span(&in, 1));
    const auto next = checkpointed ? checkpoint(block, std::span(out.data(), 1)) : block(std::span(out.data(), 1));
    backward(sum(next[0] * next[1]) + sum(out[1] * out[1]));
    return std::vector{out[0].detach(), next[1].detach(), gradient(w1), gradient(w2), gradient(x)};
  };
  const auto plain = run(false), again = run(true);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(plain[i], again[i]));
  }
  CHECK(max_difference(plain[2], Tensor::zeros_like(plain[2])) > 0.01);
}

TEST_CASE("checkpoint: leaves inside get their gradient where no input wants one") {
  const Tensor w = leaf({2, 3}), x = Tensor::from_values({2}, std::vector<double>{5, 7});
  const auto y = checkpoint([&](std::span<const Tensor> in) { return std::vector{in[0] * w}; }, std::span(&x, 1));
  backward(sum(y[0]));
  CHECK(gradient(w).values() == std::vector<double>{5, 7});
}

TEST_CASE("checkpoint: an input handed through stays a leaf") {
  const Tensor x = leaf({2, 3});
  const auto y = checkpoint(
      [](std::span<const Tensor> in) {
        return std::vector{in[0], in[0] * in[0]};
      },
      std::span(&x, 1));
  backward(sum(y[0] + y[1]));
  CHECK(gradient(x).values() == std::vector<double>{5, 7});
}

TEST_CASE("long chains are walked and destroyed without a deep stack") {
  const Tensor x = leaf({1}), one = leaf({1});
  for (bool walk : {false, true}) {
    Tensor y = x;
    for (int i = 0; i < 200000; ++i) y = y * one;
    if (walk) backward(y);
    y = Tensor();
  }
  CHECK(gradient(one).item() == 200000);
}

TEST_CASE("a gradient that is added to its leaf in place is the one that is returned whole") {
  const Tensor weight = random_tensor({20, 3}, 1), index = random_indices({20, 3}, 2, 50, DType::int32);
  const Tensor values = require_gradient(random_tensor({50, 5}, 3));
  const auto y = [&](const Tensor& table) { return sum(gather_sum(weight, index, table)); };
  const Tensor whole = gradients_of(y(values), {values})[0];
  CHECK_FALSE(gradient(values).defined());  // `gradients` leaves the leaves alone
  backward(y(values));                      // nothing to add to yet
  CHECK(same_bits(gradient(values), whole));
  const Tensor buffer = Tensor::full({50, 5}, 7, DType::float64);
  set_gradient_buffer(values, buffer);
  backward(y(values));
  CHECK(gradient(values).same_view(buffer));
  CHECK(max_difference(buffer, whole + Tensor::full({50, 5}, 7, DType::float64)) < 1e-14);
  CHECK(same_bits(gradients_of(y(values), {values})[0], whole));
  fill(buffer, 0);
  backward(y(values) + y(values) + sum(values));  // in place twice, and once through the walk
  CHECK(max_difference(buffer, whole + whole + Tensor::full({50, 5}, 1, DType::float64)) < 1e-14);
  fill(buffer, 0);
  backward(y(scale(values, 2)));  // the table is no leaf
  CHECK(max_difference(buffer, whole + whole) < 1e-14);
  fill(buffer, 0);
  const auto block = [&](std::span<const Tensor> in) { return std::vector{y(values) * in[0]}; };
  const Tensor factor = require_gradient(Tensor::scalar(1, DType::float64));
  backward(checkpoint(block, std::span(&factor, 1))[0]);
  CHECK(max_difference(buffer, whole) < 1e-14);
}

// Weights used once or twice by ops that write to a zero gradient in place (linear), add to it (gather_sum) and hand
// one over (multiply), in whatever memory was there before.
TEST_CASE("a gradient made zero is overwritten by what arrives first and added to by the rest") {
  const Tensor x = random_tensor({5, 4}, 1), weight = require_gradient(random_tensor({6, 4}, 2)),
               unused = require_gradient(random_tensor({3}, 3)), factor = require_gradient(random_tensor({5, 6}, 4));
  const Tensor rows = Tensor::from_values({5, 1}, std::vector<double>{0, 3, 3, 5, 1}, DType::int32);
  const auto loss = [&] {
    const Tensor once = linear(x, weight) * factor;
    return sum(once * once) + sum(square(linear(x, weight))) +
           sum(square(gather_sum(random_tensor({5, 1}, 5), rows, weight)));
  };
  backward(loss());
  const std::vector<double> expected = gradient(weight).values(), of_factor = gradient(factor).values();
  for (const Tensor& t : {weight, unused, factor}) {
    set_gradient_buffer(t, Tensor::full(t.shape(), std::nan(""), DType::float64));
    zero_gradient(t);
  }
  SUBCASE("one walk") {
    backward(loss());
    CHECK(max_difference(gradient(weight), Tensor::from_values({6, 4}, expected)) < 1e-12);
    CHECK(gradient(factor).values() == of_factor);
  }
  SUBCASE("a second walk adds") {
    backward(loss());
    backward(loss());
    CHECK(max_difference(scale(gradient(weight), 0.5), Tensor::from_values({6, 4}, expected)) < 1e-12);
  }
  SUBCASE("zero again") {
    backward(loss());
    zero_gradient(weight);
    CHECK(gradient(weight).values() == std::vector<double>(24, 0.0));
  }
  SUBCASE("returned gradients leave it alone") {
    const Tensor returned =
        gradients(std::vector{loss()}, std::vector{weight}, std::vector{Tensor::scalar(1, DType::float64)})[0];
    CHECK(max_difference(returned, Tensor::from_values({6, 4}, expected)) < 1e-12);
    CHECK(gradient(weight).values() == std::vector<double>(24, 0.0));
  }
  CHECK(gradient(unused).values() == std::vector<double>(3, 0.0));
}

TEST_CASE("grad_check notices a planted mistake") {
  const auto planted = [](double factor, int wrong_element) {
    return [=](std::span<const Tensor> in) {
      Tensor y;
      {
        const NoGradient guard;
        y = in[0] * in[0];
      }
      Backward back("planted", {in[0]}, {y});
      back.input(0, [=, x = back.keep(in[0])](const Tensor& dy) {
        std::vector<double> factors(static_cast<std::size_t>(dy.numel()), 2.0);
        factors[static_cast<std::size_t>(wrong_element)] = factor;
        return dy * x.get() * Tensor::from_values(dy.shape(), factors);
      });
      return std::vector{y};
    };
  };
  for (std::int64_t n : {4, 40}) {  // with and without the full Jacobian
    const std::vector<Tensor> at{random_away_from_zero({n}, 4, 0.3)};
    CHECK(grad_check(planted(2.0, 3), at) == "");
    CHECK(grad_check(planted(2.0, 3), at, {.second_order = true}) == "");
    CHECK(grad_check(planted(2.001, 3), at).find("gradient of input 0") != std::string::npos);
    CHECK(grad_check(planted(0, 0), at).find("gradient of input 0") != std::string::npos);
  }
}

TEST_CASE("grad_check notices a wrong second derivative alone") {
  // First derivative 2x as it should be, but cut off from x: the second comes out as 0 instead of 2.
  const auto cut = [](std::span<const Tensor> in) {
    Tensor y;
    {
      const NoGradient guard;
      y = in[0] * in[0];
    }
    Backward back("cut", {in[0]}, {y});
    back.input(0, [x = in[0].detach()](const Tensor& dy) { return scale(dy * x, 2) + scale(dy * x, 0); });
    return std::vector{y + in[0] * in[0] * in[0]};
  };
  const std::vector<Tensor> at{random_tensor({5}, 6)};
  CHECK(grad_check(cut, at) == "");
  CHECK(grad_check(cut, at, {.second_order = true}).find("second order") != std::string::npos);
}

TEST_CASE("gradients come out with the same bits every time") {
  const auto run = [] {
    const Tensor w = random_leaf({64, 64}, 1), x = random_leaf({50, 64}, 2);
    Tensor y = x;
    for (int i = 0; i < 4; ++i) y = y + relu(linear(y, w)) + scale(linear(x, w), 0.1);
    backward(sum(y * y));
    return std::vector{gradient(w), gradient(x)};
  };
  const auto first = run(), second = run();
  CHECK(same_bits(first[0], second[0]));
  CHECK(same_bits(first[1], second[1]));
}

TEST_CASE("autograd: an op that states no gradient for an input is named by backward") {
  const auto forgetful = [](const Tensor& a, const Tensor& b, bool states_one) {
    Tensor y;
    {
      const NoGradient guard;
      y = a * b;
    }
    Backward back("forgetful", {a, b}, {y});
    if (states_one) back.input(0, [b = back.keep(b)](const Tensor& dy) { return dy * b.get(); });
    return y;
  };
  const Tensor a = require_gradient(Tensor::full({2}, 3, DType::float32)),
               b = require_gradient(Tensor::full({2}, 4, DType::float32));
  CHECK_THROWS_WITH_AS(backward(sum(forgetful(a, b, true))),
                       doctest::Contains("forgetful states no gradient for its input 1"), ArgumentError);
  CHECK_THROWS_WITH_AS(backward(sum(forgetful(a, b, false))),
                       doctest::Contains("forgetful states no gradient for its input 0"), ArgumentError);
  backward(sum(forgetful(a, b.detach(), true)));  // the other needs none
  CHECK(gradient(a).values() == std::vector<double>{4, 4});
}
