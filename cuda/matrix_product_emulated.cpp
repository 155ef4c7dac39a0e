// Matrix products of the emulated GPU, by the CPU's, on the calling thread: device memory is open to no other.
#include <bit>
#include <vector>

#include "cuda/emulator/device_memory.h"
#include "cuda/matrix_product.h"
#include "cuda/runtime.h"
#include "cuda/tensor_core.h"
#include "ops/cpu/gemm.h"

namespace weir::cuda {
namespace {

template <class T>
cpu::Matrix<T> matrix(const ProductOperand& operand, std::int64_t number) {
  return {static_cast<const T*>(operand.data) + number * operand.step, operand.stride, operand.transposed};
}

// A matrix [rows, cols] as tensor cores see it, in `place`.
cpu::Matrix<float> rounded_to_tf32(const cpu::Matrix<float>& matrix, std::int64_t rows, std::int64_t cols,
                                   std::vector<float>& place) {
  place.clear();
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j) place.push_back(std::bit_cast<float>(to_tf32(*matrix.at(i, j).data)));
  return {place.data(), cols};
}

bool has_epilogue(const MatrixProduct& p) { return p.bias != nullptr || p.relu; }

template <class In, class Out>
void multiply(const MatrixProduct& p) {
  using Sum = accumulate_t<In>;
  constexpr Float32Products kExact = Float32Products::ieee;  // what is to be rounded is rounded here
  std::vector<Sum> sums(static_cast<std::size_t>(p.m * p.n));
  std::vector<float> left, right;
  const auto alpha = static_cast<Sum>(p.alpha), beta = static_cast<Sum>(p.beta);
  const Out* const bias = static_cast<const Out*>(p.bias);
  for (std::int64_t number = 0; number < p.batch; ++number) {
    Out* const c = static_cast<Out*>(p.c) + number * p.c_step;
    cpu::Matrix<In> a = matrix<In>(p.a, number), b = matrix<In>(p.b, number);
    if constexpr (std::is_same_v<In, float>)
      if (p.products == Float32Products::tf32)
        a = rounded_to_tf32(a, p.m, p.k, left), b = rounded_to_tf32(b, p.k, p.n, right);
    if (alpha == 1 && beta == 0 && !has_epilogue(p)) {
      cpu::gemm(p.m, p.n, p.k, a, b, c, p.c_stride, kExact);
      continue;
    }
    cpu::gemm(p.m, p.n, p.k, a, b, sums.data(), p.n, kExact);
    for (std::int64_t i = 0; i < p.m; ++i)
      for (std::int64_t j = 0; j < p.n; ++j) {
        Out& to = c[i * p.c_stride + j];
        Sum sum = alpha * sums[static_cast<std::size_t>(i * p.n + j)];
        if (beta != 0) sum += beta * static_cast<Sum>(to);
        if (bias != nullptr) sum += static_cast<Sum>(bias[j]);
        to = Out(p.relu && sum < 0 ? Sum(0) : sum);
      }
  }
}

}  // namespace

void matrix_product(Device device, const MatrixProduct& product) {
  stream_of(device)->submit([product] {
    const emulator::DeviceAccess access;
    visit_floating("matrix_product", product.in, [&]<class T>(Type<T>) {
      if (product.out == product.in)
        multiply<T, T>(product);
      else if constexpr (std::is_same_v<T, bf16>)
        multiply<bf16, float>(product);
    });
  });
}

// No epilogues in float64: so the tests of ops take both ways.
bool offers_product(Device, const MatrixProduct& product) {
  return product.in != DType::float64 || !has_epilogue(product);
}

}  // namespace weir::cuda
