#include "ops/matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/backward.h"
#include "core/error.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/gemm.h"
#include "ops/permute.h"
#include "ops/reshape.h"
#include "ops/sum.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, Float32Products, const Tensor&)> matmul_kernel{
    "matmul", [](const Tensor& a, const Tensor& b, Float32Products, const Tensor& y) {
      return product_cost({y.numel(), a.size(-1)}, a, b, y);
    }};

namespace {

Shape batch_of(const Tensor& t) { return t.shape().without(-1).without(-1); }

Shape result_shape(const Tensor& a, const Tensor& b) {
  check_same_dtype("matmul", a, b);
  check_floating("matmul", "a", a);
  if (a.rank() < 2 || b.rank() < 2)
    throw ArgumentError(fmt::format("matmul: expected two axes or more on both sides, got shapes {} and {}",
                                    a.shape().str(), b.shape().str()));
  if (a.size(-1) != b.size(-2))
    throw ArgumentError(fmt::format("matmul: shapes {} and {} do not fit: a has {} columns, b has {} rows",
                                    a.shape().str(), b.shape().str(), a.size(-1), b.size(-2)));
  Shape shape = broadcast_shapes("matmul", batch_of(a), batch_of(b));
  shape.push_back(a.size(-2));
  shape.push_back(b.size(-1));
  return shape;
}

Tensor rows_joined(const Tensor& t) {
  return reshape(t, {t.numel() / std::max<std::int64_t>(t.size(-1), 1), t.size(-1)});
}

// db = a^T dy, summed over the batch axes b was stretched along; one product where b has no batch axis at all.
Tensor gradient_of_b(const Tensor& a, const Tensor& dy, const Shape& shape, Float32Products products) {
  if (shape.rank() == 2 && a.rank() == dy.rank() && a.rank() > 2 && a.numel() > 0 && dy.numel() > 0)
    return matmul(transpose(rows_joined(a), -1, -2), rows_joined(dy), products);
  return sum_to_shape(matmul(transpose(a, -1, -2), dy, products), shape);
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, Float32Products products) {
  const Tensor y = Tensor::empty(result_shape(a, b), a.dtype(), a.device());
  matmul_kernel(a.device(), a, b, products, y);
  Backward back("matmul", {a, b}, {y});
  back.input(0, [b = back.keep(b), shape = a.shape(), products](const Tensor& dy) {
    return sum_to_shape(matmul(dy, transpose(b.get(), -1, -2), products), shape);
  });
  back.input(1, [a = back.keep(a), shape = b.shape(), products](const Tensor& dy) {
    return gradient_of_b(a.get(), dy, shape, products);
  });
  return y;
}

namespace {

// Whether the last two axes can be handed to the gemm: one of them has unit stride, and its rows do not overlap.
bool is_matrix(const Tensor& t) {
  const std::int64_t rows = t.size(-2), cols = t.size(-1), row_step = t.strides()[-2], col_step = t.strides()[-1];
  return ((cols == 1 || col_step == 1) && (rows == 1 || row_step >= cols)) ||
         ((rows == 1 || row_step == 1) && (cols == 1 || col_step >= rows));
}

template <class T>
cpu::Matrix<T> first_matrix(const Tensor& t) {
  const std::int64_t rows = t.size(-2), cols = t.size(-1), row_step = t.strides()[-2], col_step = t.strides()[-1];
  const bool plain = (cols == 1 || col_step == 1) && (rows == 1 || row_step >= cols);
  if (plain) return {t.data<T>(), rows == 1 ? cols : row_step, false};
  return {t.data<T>(), cols == 1 ? rows : col_step, true};
}

// [..., m, k] x [k, n] is one product of [... * m, k] where the rows of a and y follow each other evenly.
bool is_one_product(const Tensor& a, const Tensor& b, const Tensor& y) {
  return b.numel() == b.size(-1) * b.size(-2) && a.numel() * y.size(-1) == y.numel() * a.size(-1) && is_rows_form(a);
}

template <class T>
void matmul_cpu_typed(const Tensor& a, const Tensor& b, Float32Products products, const Tensor& y) {
  const std::int64_t m = y.size(-2), n = y.size(-1), k = a.size(-1);
  const cpu::Matrix<T> left = first_matrix<T>(a), right = first_matrix<T>(b);
  if (is_one_product(a, b, y)) {
    const auto rows = rows_of<T>(a);
    const auto out = rows_of<T>(y);
    cpu::parallel_gemm<T, T>(rows.rows, n, k, {rows.data, rows.stride}, right, out.data, out.stride, products);
    return;
  }
  const Shape batch = batch_of(y);
  const auto batch_strides = [&](const Tensor& t) {
    Shape full = batch;
    full.push_back(t.size(-2)), full.push_back(t.size(-1));
    return broadcast_view(t, full).strides().without(-1).without(-1);
  };
  // The merged last batch axis goes to the gemm as its batch; what lies evenly is merged into it.
  const LoopSpace<3> space(batch, {batch_strides(a), batch_strides(b), batch_strides(y)});
  const cpu::GemmBatch inner{space.shape[-1], space.strides[0][-1], space.strides[1][-1], space.strides[2][-1]};
  T* const out = y.data<T>();
  for (std::int64_t i = 0; i < space.shape.product() / inner.count; ++i)
    cpu::parallel_gemm<T, T>(m, n, k, {left.data + space.offset(0, i), left.stride, left.transposed},
                             {right.data + space.offset(1, i), right.stride, right.transposed},
                             out + space.offset(2, i), y.strides()[-2], products, cpu::GemmMode::overwrite, inner);
}

void matmul_cpu(const Tensor& a, const Tensor& b, Float32Products products, const Tensor& y) {
  if (y.numel() == 0) return;
  if (a.size(-1) == 0) return fill(y, 0);
  visit_floating("matmul", y.dtype(), [&]<class T>(Type<T>) {
    matmul_cpu_typed<T>(is_matrix(a) ? a : clone(a), is_matrix(b) ? b : clone(b), products, y);
  });
}

const bool on_cpu = matmul_kernel.add(DeviceKind::cpu, matmul_cpu);

// Element by element over the broadcast batch.
Tensor reference(const Tensor& a, const Tensor& b) {
  Shape batch = broadcast_shapes("reference", batch_of(a), batch_of(b)), a_shape = batch, b_shape = batch;
  const std::int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  a_shape.push_back(m), a_shape.push_back(k), b_shape.push_back(k), b_shape.push_back(n);
  const auto p = broadcast_view(a, a_shape).values(), q = broadcast_view(b, b_shape).values();
  std::vector<double> y;
  for (std::int64_t i = 0; i < batch.product(); ++i)
    for (std::int64_t r = 0; r < m; ++r)
      for (std::int64_t c = 0; c < n; ++c) {
        double sum = 0;
        for (std::int64_t j = 0; j < k; ++j)
          sum += p[static_cast<std::size_t>((i * m + r) * k + j)] * q[static_cast<std::size_t>((i * k + j) * n + c)];
        y.push_back(sum);
      }
  batch.push_back(m), batch.push_back(n);
  return Tensor::from_values(batch, y);
}

Sample matmul_sample(const std::string& name, const Shape& a, const Shape& b,
                     Float32Products products = Float32Products::ieee) {
  return {name,
          {random_factor(a, 21, products), random_factor(b, 22, products)},
          [products](std::span<const Tensor> in) { return std::vector{matmul(in[0], in[1], products)}; },
          [](std::span<const Tensor> in) { return std::vector{reference(in[0], in[1])}; }};
}

const OpRegistration registration{{
    .name = "matmul",
    .source = __FILE__,
    .signature = "matmul(a, b, Float32Products = ieee)",
    .summary = "[..., m, k] times [..., k, n], leading axes broadcast; transposed views are read in place",
    .samples =
        [] {
          return std::vector<Sample>{
              matmul_sample("plain", {4, 6}, {6, 8}),
              matmul_sample("odd", {3, 7}, {7, 5}),
              matmul_sample("several tiles", {70, 33}, {33, 150}),
              matmul_sample("batch", {3, 4, 5}, {3, 5, 2}),
              matmul_sample("shared b", {2, 3, 4, 5}, {5, 7}),
              matmul_sample("shared a", {4, 5}, {3, 5, 2}),
              matmul_sample("crossed batch", {2, 1, 3, 4}, {3, 4, 5}),
              matmul_sample("tf32", {2, 3, 7}, {7, 5}, Float32Products::tf32),
              matmul_sample("vector by vector", {1, 9}, {9, 1}),
              matmul_sample("outer", {9, 1}, {1, 5}),
              matmul_sample("size one", {1, 1}, {1, 1}),
              matmul_sample("zero rows", {0, 4}, {4, 3}),
              matmul_sample("zero terms", {2, 0}, {0, 3}),
              matmul_sample("zero batch", {0, 2, 3}, {3, 3}),
          };
        },
    .large =
        [] {
          return matmul_sample("large", {1024, 1024}, {1024, 1024});
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& a, const Shape& b, DType b_dtype) {
            return [=] { matmul(Tensor::zeros(a, DType::float32), Tensor::zeros(b, b_dtype)); };
          };
          return std::vector<BadSample>{
              {"inner extents", call({2, 3}, {4, 5}, DType::float32),
               "matmul: shapes [2, 3] and [4, 5] do not fit: a has 3 columns, b has 4 rows"},
              {"batch", call({2, 3, 4}, {3, 4, 5}, DType::float32), "matmul: shapes [2] and [3] do not broadcast"},
              {"vector", call({3}, {3, 5}, DType::float32), "matmul: expected two axes or more on both sides"},
              {"dtypes", call({2, 3}, {3, 5}, DType::float64), "matmul: expected one dtype on both sides"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
