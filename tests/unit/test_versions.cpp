// What an op keeps for backward must be what it was: each function that writes in place is seen, and usual training is
// left alone.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "autograd/accumulate.h"
#include "autograd/autograd.h"
#include "core/device.h"
#include "core/error.h"
#include "models/parameter.h"
#include "ops/adamw_update.h"
#include "ops/add.h"
#include "ops/cast.h"
#include "ops/cross_entropy.h"
#include "ops/embedding.h"
#include "ops/expert_feedforward.h"
#include "ops/gather_rows.h"
#include "ops/gather_sum.h"
#include "ops/grouped_matmul.h"
#include "ops/linear.h"
#include "ops/multiply.h"
#include "ops/reshape.h"
#include "ops/scatter_add_rows.h"
#include "ops/sgd_update.h"
#include "ops/sigmoid.h"
#include "ops/square.h"
#include "ops/sum.h"
#include "ops/support/samples.h"
#include "ops/take_along.h"
#include "ops/tanh.h"
#include "ops/top_k.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

namespace {

constexpr std::int64_t kN = 6;

Tensor full(double value, Device device, const Shape& shape = {kN}) {
  return Tensor::full(shape, value, DType::float64, device);
}

struct Writer {
  std::string name;
  std::function<void(const Tensor& t)> write;  // to t [kN]
};

// One for each argument that a function writes to.
std::vector<Writer> writers() {
  const auto adamw = [](const Tensor& values, const Tensor& first, const Tensor& second, const Tensor& updates,
                        const Tensor& unsound) {
    const Device device = values.device();
    adamw_update(values, full(1, device), {first, second, updates, unsound}, full(0.1, device, {}), full(1, device, {}),
                 {});
  };
  const auto sgd = [](const Tensor& values, const Tensor& momentum, const Tensor& updates, const Tensor& unsound) {
    const Device device = values.device();
    sgd_update(values, full(1, device), {momentum, updates, unsound}, full(0.1, device, {}), full(1, device, {}),
               {.momentum = 0.9});
  };
  const auto like = [](const Tensor& t) { return full(1, t.device()); };
  const auto number = [](const Tensor& t) { return full(1, t.device(), {}); };
  const auto element = [](const Tensor& t) { return t.strided({}, {}); };
  return {
      {"fill", [](const Tensor& t) { fill(t, 3); }},
      {"fill of a view", [](const Tensor& t) { fill(slice_view(t, 0, 2, 3), 3); }},
      {"fill of a detached tensor", [](const Tensor& t) { fill(t.detach(), 3); }},
      {"copy_into", [=](const Tensor& t) { copy_into(like(t), t); }},
      {"copy_into from another dtype", [](const Tensor& t) { copy_into(converted(t, DType::float32), t); }},
      {"add_into", [=](const Tensor& t) { add_into(like(t), t); }},
      {"adamw_update, values", [=](const Tensor& t) { adamw(t, like(t), like(t), number(t), number(t)); }},
      {"adamw_update, first moment", [=](const Tensor& t) { adamw(like(t), t, like(t), number(t), number(t)); }},
      {"adamw_update, second moment", [=](const Tensor& t) { adamw(like(t), like(t), t, number(t), number(t)); }},
      {"adamw_update, updates", [=](const Tensor& t) { adamw(like(t), like(t), like(t), element(t), number(t)); }},
      {"adamw_update, unsound", [=](const Tensor& t) { adamw(like(t), like(t), like(t), number(t), element(t)); }},
      {"sgd_update, values", [=](const Tensor& t) { sgd(t, like(t), number(t), number(t)); }},
      {"sgd_update, momentum", [=](const Tensor& t) { sgd(like(t), t, number(t), number(t)); }},
      {"sgd_update, updates", [=](const Tensor& t) { sgd(like(t), like(t), element(t), number(t)); }},
      {"sgd_update, unsound", [=](const Tensor& t) { sgd(like(t), like(t), number(t), element(t)); }},
      {"backward, first gradient in a buffer",
       [=](const Tensor& t) {
         const Tensor leaf = require_gradient(like(t));
         set_gradient_buffer(leaf, t);
         zero_gradient(leaf);
         backward(sum(leaf));
       }},
      {"backward, further gradient in a buffer",
       [=](const Tensor& t) {
         const Tensor leaf = require_gradient(like(t));
         set_gradient_buffer(leaf, t);
         backward(sum(leaf));
       }},
      {"gradient() of one that counts as zero",
       [=](const Tensor& t) {
         const Tensor leaf = require_gradient(like(t));
         set_gradient_buffer(leaf, t);
         zero_gradient(leaf);
         gradient(leaf);
       }},
      {"gather_sum's gradient, added in place",
       [](const Tensor& t) {
         const Tensor values = require_gradient(full(1, t.device(), {1, kN}));
         set_gradient_buffer(values, t.strided({1, kN}, {kN, 1}));
         backward(sum(gather_sum(full(1, t.device(), {2, 1}),
                                 to_device(Tensor::zeros({2, 1}, DType::int32), t.device()), values)));
       }},
      {"linear's gradient, written in place",
       [](const Tensor& t) {
         const Tensor weight = require_gradient(full(1, t.device(), {1, kN}));
         set_gradient_buffer(weight, t.strided({1, kN}, {kN, 1}));
         zero_gradient(weight);
         backward(sum(linear(full(1, t.device(), {2, kN}), weight)));
       }},
      {"cross_entropy's gradient in place of the logits",
       [](const Tensor& t) {
         const Tensor logits = require_gradient(t.strided({1, kN}, {kN, 1}));
         backward(cross_entropy(logits, to_device(Tensor::zeros({1}, DType::int32), t.device()),
                                LogitsAfterwards::gradient));
       }},
      {"a pointer, said", [](const Tensor& t) { t.bump_version(); }},
  };
}

std::string refusal(const char* op, const std::string& tensor) {
  return fmt::format("{}: one of the tensors that it kept for backward, of {}, was written to since", op, tensor);
}

void for_each_device(const std::function<void(Device)>& f) {
  for (const Device device : available_devices()) {
    INFO(device_name(device));
    f(device);
  }
}

}  // namespace

TEST_CASE("versions: what an op kept is refused once anything has written to it") {
  for_each_device([](Device device) {
    for (const Writer& writer : writers()) {
      INFO(writer.name);
      const Tensor x = require_gradient(full(2, device)), t = full(5, device);
      const Tensor y = sum(x * t);
      writer.write(t);
      CHECK(error_message([&] { backward(y); }).starts_with(refusal("multiply", "shape [6] and dtype float64")));
      CHECK_FALSE(gradient(x).defined());
    }
  });
}

TEST_CASE("versions: an input, an output, and what only shares their memory") {
  const Tensor x = require_gradient(full(2, {}));
  const Tensor of_input = sum(square(x)), output = sigmoid(x), of_output = sum(output);
  fill(x, 3);
  CHECK(error_message([&] { backward(of_input); }).starts_with(refusal("square", "shape [6] and dtype float64")));
  fill(output.detach(), 3);
  CHECK(error_message([&] { backward(of_output); }).starts_with(refusal("sigmoid", "shape [6] and dtype float64")));

  const Tensor whole = Tensor::full({2, kN}, 1, DType::float64), row = slice_view(whole, 0, 0, 1);
  const Tensor y = sum(require_gradient(full(2, {}, {1, kN})) * row);
  fill(slice_view(whole, 0, 1, 2), 7);  // beside the row, but a storage has one count
  CHECK(error_message([&] {
          backward(y);
        }).ends_with("(version 2, kept at 1), so the gradient would be wrong; write to a clone(), or after backward"));
}

TEST_CASE("versions: logits overwritten by their gradient are missed by the op that made them") {
  const Tensor x = require_gradient(random_tensor({3, 5}, 1)), targets = Tensor::zeros({3}, DType::int32);
  const std::string message =
      error_message([&] { backward(cross_entropy(tanh(x), targets, LogitsAfterwards::gradient)); });
  CHECK(message.starts_with(refusal("tanh", "shape [3, 5] and dtype float64")));
  const Tensor loss = cross_entropy(add(x, x), targets, LogitsAfterwards::gradient);
  const std::vector<Tensor> outputs{loss}, inputs{x}, dys{Tensor::full({}, 1, DType::float64)};
  gradients(outputs, inputs, dys, {.keep_graph = true});
  CHECK(error_message([&] { backward(loss); }).starts_with(refusal("cross_entropy", "shape [3, 5] and dtype float64")));
}

TEST_CASE("versions: indices count as well") {
  const Tensor x = require_gradient(random_tensor({4, 3}, 1));
  const auto refused = [&](const char* op, const Tensor& y, const Tensor& index) {
    fill(index, 0);
    CHECK(error_message([&] { backward(sum(y)); }).starts_with(std::string(op) + ": one of the tensors that it kept"));
  };
  const auto zeros = [](const Shape& shape, DType dtype = DType::int32) { return Tensor::zeros(shape, dtype); };
  Tensor index = zeros({2});
  refused("gather_rows", gather_rows(x, index), index);
  refused("scatter_add_rows", scatter_add_rows(x, index = zeros({4}), 2), index);
  refused("take_along", take_along(x, index = zeros({4, 2})), index);
  refused("embedding", embedding(x, index = zeros({5}), DType::float64), index);
  refused("gather_sum", gather_sum(random_tensor({2, 1}, 2), index = zeros({2, 1}), x), index);
  refused("cross_entropy", cross_entropy(x, index = zeros({4})), index);
  const TopK top = top_k(x, 2);
  refused("top_k", top.values, top.indices);
  index = Tensor::from_values({2}, std::vector<double>{0, 4}, DType::int64);
  refused("grouped_matmul", grouped_matmul(x, random_tensor({1, 3, 2}, 3), index), index);
}

TEST_CASE("versions: the weights of experts, and of a product that rounded them") {
  const Tensor x = require_gradient(Tensor::full({2, 3}, 1, DType::float32)),
               gate = Tensor::full({2, 1}, 1, DType::float32), index = Tensor::zeros({2, 1}, DType::int32),
               w1 = Tensor::full({1, 3, 4}, 1, DType::float32), w2 = Tensor::full({1, 4, 3}, 1, DType::float32);
  for (const Tensor& weight : {w1, w2}) {
    const Tensor y = sum(expert_feedforward(x, gate, index, w1, w2));
    fill(weight, 2);
    CHECK(error_message([&] { backward(y); }).starts_with("expert_feedforward: one of the tensors that it kept"));
  }
  const Tensor weight = require_gradient(Tensor::full({4, 3}, 1, DType::float32));
  const Tensor y = sum(linear(cast(x, DType::bf16), weight));  // keeps the rounded copy
  fill(weight, 2);
  backward(y);
  CHECK(gradient(x).values() == std::vector<double>(6, 4));
}

TEST_CASE("versions: checkpoint refuses inputs that were written to") {
  const Tensor x = require_gradient(full(2, {})), t = full(5, {});
  const std::vector<Tensor> inputs{x, t};
  const auto block = [](std::span<const Tensor> in) { return std::vector{in[0] * in[1]}; };
  const Tensor y = sum(checkpoint(block, inputs)[0]);
  fill(t, 1);
  CHECK(error_message([&] { backward(y); }).starts_with("checkpoint: one of the tensors that it kept"));
}

TEST_CASE("versions: what is written before, beside or after is nobody's concern") {
  const Tensor x = require_gradient(full(2, {})), t = full(5, {});
  fill(t, 3);
  const Tensor y = sum(x * t), copy = clone(t), unread = full(1, {});
  const Tensor z = sum(x + unread);  // add keeps nothing
  fill(copy, 7), fill(unread, 7);
  const std::vector<Tensor> outputs{y}, inputs{x}, dys{full(1, {}, {})};
  gradients(outputs, inputs, dys, {.keep_graph = true});
  backward(y), backward(z);
  CHECK(gradient(x).values() == std::vector<double>(kN, 4));
  fill(t, 1), fill(x, 1);
  clear_gradient(x);
  backward(sum(x * t));
  CHECK(gradient(x).values() == std::vector<double>(kN, 1));
}

TEST_CASE("versions: training steps between a parameter's uses are refused, after backward they are not") {
  ParameterSet parameters;
  const Parameter& w = parameters.add("w", {4, 3}, [](const Tensor& to, const RandomStream&) { fill(to, 0.5); });
  parameters.allocate(DType::float32, 1);
  const Tensor m = Tensor::zeros_like(parameters.values()), v = Tensor::zeros_like(m),
               x = require_gradient(Tensor::full({2, 3}, 1, DType::float32));
  const AdamWState state{m, v, full(0, {}, {})};
  const auto update = [&] {
    adamw_update(parameters.values(), parameters.gradients(), state, full(0.1, {}, {}), full(1, {}, {}), {});
    parameters.zero_gradients();
  };
  for (int step = 0; step < 3; ++step) {
    for (int pass = 0; pass < 2; ++pass) backward(sum(square(linear(x, w.value))));
    update();
  }
  const Tensor y = sum(linear(x, w.value));
  update();
  CHECK(error_message([&] { backward(y); }).starts_with(refusal("linear", "shape [4, 3] and dtype float32")));
  const Tensor again = sum(linear(x, w.value));
  parameters.initialise(1);
  CHECK(error_message([&] { backward(again); }).starts_with(refusal("linear", "shape [4, 3] and dtype float32")));
}

TEST_CASE("versions: counted from several threads") {
  const Tensor t = full(1, {});
  const std::uint64_t before = t.version();
  const auto write = [&t] {
    for (int i = 0; i < 1000; ++i) t.bump_version();
  };
  std::thread other(write);
  write();
  other.join();
  CHECK(t.version() == before + 2000);
  CHECK(reshape_view(t, {2, 3})->version() == t.version());
}
