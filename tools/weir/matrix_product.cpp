#include "tools/weir/matrix_product.h"

#include "core/parallel.h"
#include "ops/cpu/library_gemm.h"
#include "tools/weir/bench.h"

namespace weir {
namespace {

template <class T>
auto library_entry() {
  if constexpr (std::is_same_v<T, float>)
    return cpu::library_gemm.f32;
  else
    return cpu::library_gemm.bf16;
}

template <class T>
void fill_in(const ProductSize& size, Float32Products products, MatrixProduct& product) {
  const auto operand = [](std::int64_t rows, std::int64_t cols, bool transposed, std::uint32_t stream) {
    return random_normal(transposed ? Shape{cols, rows} : Shape{rows, cols}, 1, dtype_of<T>(), stream);
  };
  const Tensor a = operand(size.m, size.k, size.a_transposed, 1), b = operand(size.k, size.n, size.b_transposed, 2);
  const Tensor c = Tensor::empty({size.m, size.n}, dtype_of<T>());
  const auto a_rows = rows_of<T>(a), b_rows = rows_of<T>(b), c_rows = rows_of<T>(c);
  const cpu::Matrix<T> left{a_rows.data, a_rows.stride, size.a_transposed};
  const cpu::Matrix<T> right{b_rows.data, b_rows.stride, size.b_transposed};
  product.ours = [=] {
    cpu::parallel_gemm<T, T>(size.m, size.n, size.k, left, right, c.data<T>(), c_rows.stride, products);
  };
  if (const auto entry = library_entry<T>(); entry != nullptr)
    product.by_library = entry(size.m, size.n, size.k, left, right, c_rows.data, c_rows.stride, thread_count());
  product.operands = {a, b, c};
}

}  // namespace

MatrixProduct::MatrixProduct(const ProductSize& size, DType dtype, Float32Products products) {
  if (dtype == DType::bf16)
    fill_in<bf16>(size, products, *this);
  else
    fill_in<float>(size, products, *this);
}

}  // namespace weir
