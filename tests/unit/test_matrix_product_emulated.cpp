// The interface of dense products in device memory, beyond what ops ask of it: factors, sums onto c, float32 results of
// bf16, repeated matrices, epilogues.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "autograd/autograd.h"
#include "core/tensor.h"
#include "cuda/matrix_product.h"
#include "ops/linear.h"
#include "ops/matmul.h"
#include "ops/support/samples.h"

using namespace weir;

namespace {

constexpr std::int64_t M = 5, N = 7, K = 9, kBatch = 3;

struct Terms {
  double alpha, beta;
  bool bias = false, relu = false;
};

// relu(alpha a b[number] + beta c[number] + bias), by rows; a is one matrix for all.
std::vector<double> expected(const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& bias,
                             const Terms& terms) {
  const auto left = a.values(), right = b.values(), addend = bias.values();
  std::vector<double> result = c.values();
  for (std::size_t item = 0; item < result.size(); ++item) {
    const std::size_t number = item / (M * N), i = item / N % M, j = item % N;
    double sum = 0;
    for (std::size_t k = 0; k < K; ++k) sum += left[i * K + k] * right[(number * K + k) * N + j];
    result[item] = terms.alpha * sum + terms.beta * result[item] + (terms.bias ? addend[item % N] : 0);
    if (terms.relu) result[item] = std::max(result[item], 0.0);
  }
  return result;
}

void check(DType in, DType out, bool a_transposed, bool b_transposed, const Terms& terms) {
  INFO(dtype_name(in), " to ", dtype_name(out), ", ", a_transposed, b_transposed, ", ", terms.alpha, " ", terms.beta,
       ", ", terms.bias, terms.relu);
  const Device device{DeviceKind::cuda, 0};
  const auto stored = [&](const Tensor& t, bool transposed) {
    return to_device(transposed ? clone(transpose_view(t, -1, -2)) : t, device);
  };
  const Tensor a = converted(random_tensor({1, M, K}, 1), in), b = converted(random_tensor({kBatch, K, N}, 2), in),
               c = converted(random_tensor({kBatch, M, N}, 3), out), bias = converted(random_tensor({N}, 4), out);
  const Tensor left = stored(a, a_transposed), right = stored(b, b_transposed), to = clone(to_device(c, device)),
               addend = to_device(bias, device);
  cuda::matrix_product(device, {.m = M,
                                .n = N,
                                .k = K,
                                .batch = kBatch,
                                .in = in,
                                .out = out,
                                .products = Float32Products::ieee,
                                .a = {left.raw(), left.strides()[1], a_transposed, 0},
                                .b = {right.raw(), right.strides()[1], b_transposed, right.strides()[0]},
                                .c = to.raw(),
                                .c_stride = to.strides()[1],
                                .c_step = to.strides()[0],
                                .alpha = terms.alpha,
                                .beta = terms.beta,
                                .bias = terms.bias ? addend.raw() : nullptr,
                                .relu = terms.relu});
  const std::vector<double> got = to.values(), wanted = expected(a, b, c, bias, terms);
  const double tolerance = out == DType::float64 ? 1e-13 : out == DType::float32 ? 1e-5 : 0.02;
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(wanted[i]).epsilon(tolerance));
}

}  // namespace

TEST_CASE("matrix product: factors, sums onto c, epilogues, transposed and repeated matrices, every dtype") {
  for (const auto& [in, out] : {std::pair{DType::float64, DType::float64},
                                {DType::float32, DType::float32},
                                {DType::bf16, DType::float32},
                                {DType::bf16, DType::bf16}})
    for (const bool a_transposed : {false, true})
      for (const bool b_transposed : {false, true})
        for (const Terms& terms :
             {Terms{1, 0}, {1, 1}, {-2, 0.5}, {1, 0, true}, {1, 0, false, true}, {-2, 0.5, true, true}})
          check(in, out, a_transposed, b_transposed, terms);
}

TEST_CASE("matrix product: tf32 rounds the factors, in gradients too, where it is asked for") {
  const Device device{DeviceKind::cuda, 0};
  const double fine = 1 + 0x1p-11, coarse = 1 + 0x1p-10;  // a tie, and the tf32 away from zero
  const Tensor one = Tensor::full({1, 1}, 1, DType::float32, device);
  const auto results = [&](Float32Products products) {
    const Tensor x = Tensor::full({1, 1}, -fine, DType::float32, device),
                 w = Tensor::full({1, 1}, fine, DType::float32, device);
    require_gradient(x), require_gradient(w);
    const Tensor y = linear(one, w, products), z = matmul(x, one, products);
    backward(linear(x, w));
    const double exact = gradient(w).item();
    clear_gradient(x), clear_gradient(w);
    const std::vector<Tensor> outputs{y, z}, dys{Tensor::full({1, 1}, fine, DType::float32, device), one};
    backward(outputs, dys);
    return std::vector{y.item(), z.item(), exact, gradient(w).item(), gradient(x).item()};
  };
  CHECK(results(Float32Products::ieee) == std::vector{fine, -fine, -fine, fine, 1.0});
  CHECK(results(Float32Products::tf32) == std::vector{coarse, -coarse, -fine, coarse, 1.0});
}

TEST_CASE("matrix product: a sum with its bias is rounded once") {
  const Device device{DeviceKind::cuda, 0};
  // 1 + 2^-8 lies half-way between two bf16 and would become 1; with 2^-9 it is nearer to the upper one.
  const auto bf16s = [&](const Shape& shape, const std::vector<double>& values) {
    return Tensor::from_values(shape, values, DType::bf16, device);
  };
  const Tensor a = bf16s({1, 2}, {1, 0x1p-8}), b = bf16s({2, 1}, {1, 1}), bias = bf16s({1}, {0x1p-9}),
               c = bf16s({1, 1}, {0});
  cuda::matrix_product(device, {.m = 1,
                                .n = 1,
                                .k = 2,
                                .in = DType::bf16,
                                .out = DType::bf16,
                                .products = Float32Products::ieee,
                                .a = {a.raw(), a.strides()[0]},
                                .b = {b.raw(), b.strides()[0]},
                                .c = c.raw(),
                                .c_stride = c.strides()[0],
                                .bias = bias.raw()});
  CHECK(c.item() == 1 + 0x1p-7);
}
