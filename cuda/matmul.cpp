// Products of batches: one call of the library for the innermost batch axes that lie evenly, a loop over the others.
#include "ops/matmul.h"

#include "core/copy.h"
#include "core/loop_space.h"
#include "cuda/matrix_product.h"

namespace weir::cuda {
namespace {

// Whether the last two axes can be handed to the library: one of them has unit stride, and its rows do not overlap.
bool is_plain(std::int64_t rows, std::int64_t cols, std::int64_t row_step, std::int64_t col_step) {
  return (cols == 1 || col_step == 1) && (rows == 1 || row_step >= cols);
}

struct Matrices {
  Tensor owner;
  ProductOperand first;
};

Matrices matrices_of(Tensor t) {
  const auto plain = [&t] { return is_plain(t.size(-2), t.size(-1), t.strides()[-2], t.strides()[-1]); };
  const auto turned = [&t] { return is_plain(t.size(-1), t.size(-2), t.strides()[-1], t.strides()[-2]); };
  if (!plain() && !turned()) t = clone(t);
  const std::int64_t rows = t.size(-2), cols = t.size(-1);
  if (plain()) return {t, {t.raw(), rows == 1 ? cols : t.strides()[-2], false}};
  return {t, {t.raw(), cols == 1 ? rows : t.strides()[-1], true}};
}

Shape batch_of(const Tensor& t) { return t.shape().without(-1).without(-1); }

Strides batch_strides(const Tensor& t, const Shape& batch) {
  Shape full = batch;
  full.push_back(t.size(-2)), full.push_back(t.size(-1));
  return broadcast_view(t, full).strides().without(-1).without(-1);
}

const void* moved(const void* place, std::int64_t elements, DType dtype) {
  return static_cast<const std::byte*>(place) + elements * static_cast<std::int64_t>(dtype_size(dtype));
}

void matmul(const Tensor& a, const Tensor& b, Float32Products products, const Tensor& y) {
  if (y.numel() == 0) return;
  if (a.size(-1) == 0) return fill(y, 0);
  // [..., m, k] x [k, n] is one product of [... * m, k] where the rows of a follow each other evenly.
  if (b.numel() == b.size(-1) * b.size(-2) && batch_of(a).product() == batch_of(y).product() && y.rank() > 2 &&
      is_rows_form(a))
    return matmul(reshaped(a, {a.numel() / a.size(-1), a.size(-1)}), reshaped(b, {b.size(-2), b.size(-1)}), products,
                  *reshape_view(y, {y.numel() / y.size(-1), y.size(-1)}));
  const Matrices left = matrices_of(a), right = matrices_of(b);
  const Shape batch = batch_of(y);
  const LoopSpace<3> space(
      batch, {batch_strides(left.owner, batch), batch_strides(right.owner, batch), batch_strides(y, batch)});
  const DType dtype = y.dtype();
  MatrixProduct product{.m = y.size(-2),
                        .n = y.size(-1),
                        .k = a.size(-1),
                        .batch = space.shape[-1],
                        .in = dtype,
                        .out = dtype,
                        .products = products,
                        .a = left.first,
                        .b = right.first,
                        .c = nullptr,
                        .c_stride = y.strides()[-2],
                        .c_step = space.strides[2][-1]};
  product.a.step = space.strides[0][-1], product.b.step = space.strides[1][-1];
  for (std::int64_t i = 0; i < space.shape.product() / product.batch; ++i) {
    product.a.data = moved(left.first.data, space.offset(0, i), dtype);
    product.b.data = moved(right.first.data, space.offset(1, i), dtype);
    product.c = const_cast<void*>(moved(y.raw(), space.offset(2, i), dtype));
    matrix_product(y.device(), product);
  }
}

const bool registered = matmul_kernel.add(DeviceKind::cuda, matmul);

}  // namespace
}  // namespace weir::cuda
