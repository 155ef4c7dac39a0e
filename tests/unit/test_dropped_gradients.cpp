// What would drop a gradient says so, and what is read as a gradient is one.
#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "autograd/autograd.h"
#include "autograd/backward.h"
#include "core/error.h"
#include "models/initialise.h"
#include "models/parameter.h"
#include "ops/cast.h"
#include "ops/multiply.h"
#include "ops/reshape.h"
#include "ops/square.h"
#include "ops/sum.h"
#include "tensor_checks.h"

using namespace weir;

TEST_CASE("dropped gradients: views and copies of a tensor that requires one are refused") {
  const Tensor x = require_gradient(Tensor::full({2, 3}, 3, DType::float32));
  const std::array axes{1, 0};
  const auto message = [](const char* function, const std::string& instead) {
    return std::string(function) + ": this tensor requires a gradient, which " + function + " would drop; use " +
           instead + ".detach() where none is wanted";
  };
  CHECK(error_message([&] { clone(x); }) == message("clone", "t"));
  CHECK(error_message([&] { converted(x, DType::float64); }) == message("converted", "cast() of ops/cast.h, or t"));
  CHECK(error_message([&] { slice_view(x, 0, 0, 1); }) == message("slice_view", "slice() of ops/slice.h, or t"));
  CHECK(error_message([&] { permute_view(x, axes); }) == message("permute_view", "permute() of ops/permute.h, or t"));
  CHECK(error_message([&] { transpose_view(x, 0, 1); }) ==
        message("transpose_view", "transpose() of ops/permute.h, or t"));
  CHECK(error_message([&] {
          broadcast_view(x, {4, 2, 3});
        }) == message("broadcast_view", "broadcast_to() of ops/broadcast_to.h, or t"));
  CHECK(error_message([&] { reshaped(x, {3, 2}); }) == message("reshape_view", "reshape() of ops/reshape.h, or t"));
  const Tensor y = square(x);  // an op's result as well
  CHECK_THROWS_AS(clone(y), ArgumentError);
  for (const Device device : available_devices()) {
    if (device == Device{}) continue;
    CHECK(error_message([&] { to_device(x, device); }) == message("to_device", "t"));
    CHECK_NOTHROW(to_device(x.detach(), device));
  }
}

TEST_CASE("dropped gradients: what keeps them, and what says that none is wanted, goes on") {
  const Tensor x = require_gradient(Tensor::full({2, 3}, 3, DType::float32));
  CHECK(converted(x, DType::float32).same_view(x));
  CHECK(to_device(x, {}).same_view(x));
  backward(sum(x * reshape(cast(cast(x, DType::float64), DType::float32), {2, 3})));
  CHECK(gradient(x).values() == std::vector<double>(6, 6));
  CHECK(clone(x.detach()).values() == std::vector<double>(6, 3));
  const NoGradient guard;
  CHECK(clone(x).values() == std::vector<double>(6, 3));
  CHECK_FALSE(requires_gradient(clone(x)));
}

TEST_CASE("dropped gradients: a parameter that a step did not use has the gradient zero") {
  ParameterSet parameters;
  const Parameter& used = parameters.add("used", {2}, initialise::constant(1));
  const Parameter& unused = parameters.add("unused", {2}, initialise::constant(1));
  parameters.allocate(DType::float32, 1);
  backward(sum(square(used.value)));
  backward(sum(square(unused.value)));
  parameters.zero_gradients();
  backward(sum(square(used.value)));
  CHECK(gradient(used.value).values() == std::vector<double>(2, 2));
  CHECK(gradient(unused.value).values() == std::vector<double>(2, 0));
  CHECK(parameters.view_in(parameters.gradients(), unused).values() == std::vector<double>(2, 0));
}
