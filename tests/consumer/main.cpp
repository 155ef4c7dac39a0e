// A program outside the project: it adds an op of its own, with its gradient, to the installed library, checks it, and
// trains a small network with it to multiply two numbers.
#include <cmath>
#include <cstdio>
#include <vector>

#include "autograd/autograd.h"
#include "autograd/backward.h"
#include "autograd/grad_check.h"
#include "models/initialise.h"
#include "ops/cpu/elementwise.h"
#include "ops/linear.h"
#include "ops/mean.h"
#include "ops/multiply.h"
#include "ops/sigmoid.h"
#include "ops/square.h"
#include "ops/subtract.h"
#include "ops/support/samples.h"
#include "train/optimizer/adamw.h"

using namespace weir;

// log(1 + e^x), element by element. Any shape, float32 or float64; on the CPU.
Tensor softplus(const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  visit_floating("softplus", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T>(
        y, [](Value v) { return std::fmax(v, Value(0)) + std::log1p(std::exp(-std::fabs(v))); }, x);
  });
  Backward back("softplus", {x}, {y});
  back.input(0, [x = back.keep(x)](const Tensor& dy) { return dy * sigmoid(x.get()); });
  return y;
}

bool gradient_is_right() {
  const std::vector<Tensor> inputs = {random_tensor({3, 5}, 1, -4, 4)};
  const auto call = [](std::span<const Tensor> in) { return std::vector<Tensor>{softplus(in[0])}; };
  const std::string disagreement = grad_check(call, inputs, {.second_order = true});
  std::printf("gradient of softplus: %s\n", disagreement.empty() ? "right" : disagreement.c_str());
  return disagreement.empty();
}

// Gradient steps on mean((network(x) - x0 x1)^2); true where the loss fell to a tenth.
bool network_learns() {
  ParameterSet parameters;
  const Parameter& w1 = parameters.add("w1", {16, 2}, initialise::normal(1));
  const Parameter& b1 = parameters.add("b1", {16}, initialise::constant(0));
  const Parameter& w2 = parameters.add("w2", {1, 16}, initialise::normal(0.25));
  parameters.allocate(DType::float32, 1);
  AdamW optimizer(parameters, {});

  const Tensor x = converted(random_tensor({64, 2}, 2), DType::float32);  // [64, 2]
  const std::vector<double> values = x.values();
  std::vector<double> products;
  for (std::size_t i = 0; i < values.size(); i += 2) products.push_back(values[i] * values[i + 1]);
  const Tensor target = Tensor::from_values({64, 1}, products, DType::float32);

  double first = 0, loss = 0;
  for (int step = 0; step <= 400; ++step) {
    const Tensor y = linear(softplus(linear(x, w1.value, b1.value)), w2.value);  // [64, 1]
    const Tensor error = mean(square(y - target));
    loss = error.item();
    if (step == 0) first = loss;
    if (step % 100 == 0) std::printf("step %3d: loss %.5f\n", step, loss);
    parameters.zero_gradients();
    backward(error);
    optimizer.step(0.02, 1);
  }
  return loss < first / 10;
}

int main() {
  if (!gradient_is_right()) return 1;
  if (!network_learns()) {
    std::printf("the loss did not fall to a tenth\n");
    return 1;
  }
  return 0;
}
