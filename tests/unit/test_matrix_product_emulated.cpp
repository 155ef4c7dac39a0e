// The interface of dense products in device memory, beyond what ops ask of it: factors, sums onto c, float32 results of
// bf16, repeated matrices.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "core/tensor.h"
#include "cuda/matrix_product.h"
#include "ops/support/samples.h"

using namespace weir;

namespace {

constexpr std::int64_t M = 5, N = 7, K = 9, kBatch = 3;

// alpha a b[number] + beta c[number], by rows; a is one matrix for all.
std::vector<double> expected(const Tensor& a, const Tensor& b, const Tensor& c, double alpha, double beta) {
  const auto left = a.values(), right = b.values();
  std::vector<double> result = c.values();
  for (std::size_t item = 0; item < result.size(); ++item) {
    const std::size_t number = item / (M * N), i = item / N % M, j = item % N;
    double sum = 0;
    for (std::size_t k = 0; k < K; ++k) sum += left[i * K + k] * right[(number * K + k) * N + j];
    result[item] = alpha * sum + beta * result[item];
  }
  return result;
}

void check(DType in, DType out, bool a_transposed, bool b_transposed, double alpha, double beta) {
  INFO(dtype_name(in), " to ", dtype_name(out), ", ", a_transposed, b_transposed, ", ", alpha, " ", beta);
  const Device device{DeviceKind::cuda, 0};
  const auto stored = [&](const Tensor& t, bool transposed) {
    return to_device(transposed ? clone(transpose_view(t, -1, -2)) : t, device);
  };
  const Tensor a = converted(random_tensor({1, M, K}, 1), in), b = converted(random_tensor({kBatch, K, N}, 2), in),
               c = converted(random_tensor({kBatch, M, N}, 3), out);
  const Tensor left = stored(a, a_transposed), right = stored(b, b_transposed), to = clone(to_device(c, device));
  cuda::matrix_product(device, {.m = M,
                                .n = N,
                                .k = K,
                                .batch = kBatch,
                                .in = in,
                                .out = out,
                                .a = {left.raw(), left.strides()[1], a_transposed, 0},
                                .b = {right.raw(), right.strides()[1], b_transposed, right.strides()[0]},
                                .c = to.raw(),
                                .c_stride = to.strides()[1],
                                .c_step = to.strides()[0],
                                .alpha = alpha,
                                .beta = beta});
  const std::vector<double> got = to.values(), wanted = expected(a, b, c, alpha, beta);
  const double tolerance = out == DType::float64 ? 1e-13 : out == DType::float32 ? 1e-5 : 0.02;
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(wanted[i]).epsilon(tolerance));
}

}  // namespace

TEST_CASE("matrix product: factors, sums onto c, transposed and repeated matrices, every dtype") {
  for (const auto& [in, out] : {std::pair{DType::float64, DType::float64},
                                {DType::float32, DType::float32},
                                {DType::bf16, DType::float32},
                                {DType::bf16, DType::bf16}})
    for (const bool a_transposed : {false, true})
      for (const bool b_transposed : {false, true})
        for (const auto& [alpha, beta] : {std::pair{1.0, 0.0}, {1.0, 1.0}, {-2.0, 0.5}})
          check(in, out, a_transposed, b_transposed, alpha, beta);
}
