// outer_sum_product against the same in composed ops, in float64 on the CPU: sizes that need several of every kind of
// block that the kernels cut their work into, and float32 values beside bf16.
#include <doctest/doctest.h>

#include "autograd/autograd.h"
#include "ops/linear.h"
#include "ops/outer_sum.h"
#include "ops/outer_sum_product.h"
#include "ops/permute.h"
#include "ops/support/samples.h"
#include "tests/unit/op_suite.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

namespace {

struct Size {
  std::int64_t rows, i, j, width;
};

Tensor composed(const Tensor& a, const Tensor& b, const Tensor& values, Float32Products products) {
  return linear(outer_sum(a, b, Activation::relu), transpose(values, 0, 1), products);
}

// y, and the gradients of a, b and values.
template <class F>
std::vector<Tensor> results(F&& f, std::vector<Tensor> inputs, const Tensor& dy) {
  for (Tensor& t : inputs) require_gradient(t = t.detach());
  const std::vector<Tensor> y{f(inputs[0], inputs[1], inputs[2], Float32Products::ieee)};
  std::vector<Tensor> all = gradients(y, inputs, std::span(&dy, 1));
  all.insert(all.begin(), y[0]);
  return all;
}

// The largest difference, as a part of the largest number.
double distance(const Tensor& got, const Tensor& expected) {
  return max_difference(got, expected) / max_difference(expected, Tensor::zeros_like(expected));
}

void check(const Size& size, DType dtype, DType parameters, double tolerance) {
  const auto rounded = [](const Tensor& t, DType to) { return converted(converted(t, to), DType::float64); };
  const std::vector<Tensor> exact{rounded(random_tensor({size.rows, size.i}, 1), dtype),
                                  rounded(random_tensor({size.rows, size.j}, 2), dtype),
                                  rounded(random_tensor({size.i * size.j, size.width}, 3), dtype)};
  const Tensor dy = rounded(random_tensor({size.rows, size.width}, 4), dtype);
  const std::vector<Tensor> expected = results(composed, exact, dy);
  for (const Device device : tests::chosen_devices()) {
    INFO(size.rows, " x ", size.i, " x ", size.j, " x ", size.width, " / ", std::string(dtype_name(dtype)), " / ",
         device_name(device));
    const auto moved = [&](const Tensor& t, DType to) { return to_device(converted(t, to), device); };
    const std::vector<Tensor> got =
        results(outer_sum_product, {moved(exact[0], dtype), moved(exact[1], dtype), moved(exact[2], parameters)},
                moved(dy, dtype));
    CHECK(got[3].dtype() == parameters);
    for (std::size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i);
      CHECK(distance(got[i], expected[i]) < tolerance);
    }
  }
}

}  // namespace

TEST_CASE("outer_sum_product: the composed form's results and gradients") {
  for (const Size& size : {Size{7, 46, 46, 12}, {1100, 3, 5, 4}, {130, 2, 2100, 3}, {130, 128, 127, 3}}) {
    check(size, DType::float64, DType::float64, 1e-12);
    check(size, DType::float32, DType::float32, 1e-5);
    check(size, DType::bf16, DType::float32, 1e-2);
  }
}

TEST_CASE("outer_sum_product: the activations are never in memory at once") {
  const std::int64_t rows = 512, n = 32, width = 8;
  for (const Device device : tests::chosen_devices()) {
    INFO(device_name(device));
    const auto fresh = [&](const Shape& shape, std::uint64_t seed) {
      return to_device(converted(random_tensor(shape, seed), DType::bf16), device);
    };
    const std::vector<Tensor> inputs{fresh({rows, n}, 1), fresh({rows, n}, 2), fresh({n * n, width}, 3)};
    const Tensor dy = fresh({rows, width}, 4);
    const auto peak = [&](auto&& f) {
      const std::size_t before = allocator(device).statistics().in_use_bytes;
      allocator(device).reset_peak();
      results(f, inputs, dy);
      return static_cast<std::int64_t>(allocator(device).statistics().peak_bytes - before);
    };
    CHECK(peak(outer_sum_product) < rows * n * n);  // half of what they take
    CHECK(peak(composed) > 2 * rows * n * n);
  }
}
