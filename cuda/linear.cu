// Products by matrix_product.h, with bias and activation in the same pass where the device offers that: then y is the
// sum in accumulate_t, bias included, rounded once, and a float32 bias beside bf16 is rounded to bf16 first, as the
// library asks. Where it does not, y is the product's and rounded before a pass of its own adds the bias as it is.
// Backward: the gradient before the activation, then the same products, and its columns summed in a fixed order.
#include "ops/linear.h"

#include "cuda/column_sum.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/matrix_product.h"
#include "ops/relu.h"
#include "ops/support/parameters.h"

namespace weir::cuda {
namespace {

template <bool relu>
struct Finish {
  template <class Value, class Bias>
  __device__ Value operator()(Value z, Bias bias) const {
    return (*this)(z + static_cast<Value>(bias));
  }
  template <class Value>
  __device__ Value operator()(Value z) const {
    return relu ? Relu{}(z) : z;
  }
};

// c = op(a) op(b), the whole of each.
template <class T, class Out>
MatrixProduct product_of(const Rows<T>& a, bool a_transposed, const Rows<T>& b, bool b_transposed, const Rows<Out>& c,
                         Float32Products products) {
  return {.m = c.rows,
          .n = c.cols,
          .k = a_transposed ? a.rows : a.cols,
          .in = dtype_of<T>(),
          .out = dtype_of<Out>(),
          .products = products,
          .a = {a.data, a.stride, a_transposed},
          .b = {b.data, b.stride, b_transposed},
          .c = c.data,
          .c_stride = c.stride};
}
template <class T, class Out>
void multiply(Device device, const Rows<T>& a, bool a_transposed, const Rows<T>& b, bool b_transposed,
              const Rows<Out>& c, Float32Products products) {
  if (c.rows > 0 && c.cols > 0) matrix_product(device, product_of(a, a_transposed, b, b_transposed, c, products));
}

template <class T, class P>
void finish(const Tensor& y, const Tensor& bias, Activation activation) {
  const bool relu = activation == Activation::relu;
  if (bias.defined() && relu)
    elementwise<T, T, P>(y, Finish<true>{}, y, bias);
  else if (bias.defined())
    elementwise<T, T, P>(y, Finish<false>{}, y, bias);
  else if (relu)
    elementwise<T, T>(y, Finish<true>{}, y);
}

template <class T, class P>
void forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation, Float32Products products,
             const Tensor& y) {
  if (x.size(-1) == 0) {
    fill(y, 0);
    return finish<T, P>(y, bias, activation);
  }
  const Tensor in = rows_form(x), w = rows_form(weight);
  const MatrixProduct plain = product_of(rows_of<T>(in), false, rows_of<T>(w), true, rows_of<T>(y), products);
  const Tensor addend = bias.defined() ? rows_form(converted(bias, y.dtype())) : Tensor();
  MatrixProduct whole = plain;
  whole.bias = bias.defined() ? addend.raw() : nullptr;
  whole.relu = activation == Activation::relu;
  if (offers_product(y.device(), whole)) return matrix_product(y.device(), whole);
  matrix_product(y.device(), plain);
  finish<T, P>(y, bias, activation);
}

void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation, Float32Products products,
            const Tensor& y) {
  if (y.numel() == 0) return;
  visit_with_parameters(
      "linear", x.dtype(), bias.defined() ? bias.dtype() : x.dtype(),
      [&]<class T, class P>(Type<T>, Type<P>) { forward<T, P>(x, weight, bias, activation, products, y); });
}

// out[c] = the sum of column c.
template <class T, class P>
void column_sums_of(const Tensor& dz, const Tensor& out) {
  using Sum = accumulate_t<T>;
  const auto rows = rows_of<T>(dz);
  if (rows.rows == 0 || rows.cols == 0) return fill(out, 0);
  const std::int64_t chunk = rows_per_chunk(rows.rows), chunks = (rows.rows + chunk - 1) / chunk;
  const Tensor sums = Tensor::empty(Shape{chunks * rows.cols}, dtype_of<Sum>(), dz.device());
  launch_column_sums(dz.device(), rows, chunk, kWarp, sums.data<Sum>());
  sum_all_rows(dz.device(), Rows<Sum>{sums.data<Sum>(), chunks, rows.cols, rows.cols}, out.data<P>());
}

template <class T, class P>
void backward(const Tensor& x, const Tensor& weight, const Tensor& y, const Tensor& dy, Float32Products products,
              const LinearGradients& wanted) {
  const Device device = dy.device();
  Tensor dz = rows_form(dy);
  if (y.defined()) {
    dz = Tensor::empty_like(dy);
    relu_op.backward_kernel(device, y, dy, dz);
  }
  if (wanted.dbias.defined()) column_sums_of<T, P>(dz, wanted.dbias);
  if (wanted.dx.defined()) {
    const Tensor w = rows_form(weight);
    if (dz.size(-1) == 0)
      fill(wanted.dx, 0);
    else
      multiply<T, T>(device, rows_of<T>(dz), false, rows_of<T>(w), false, rows_of<T>(wanted.dx), products);
  }
  if (wanted.dweight.defined()) {
    const Tensor in = rows_form(x);
    if (rows_of<T>(dz).rows == 0)
      fill(wanted.dweight, 0);
    else
      multiply<T, P>(device, rows_of<T>(dz), true, rows_of<T>(in), false, rows_of<P>(wanted.dweight), products);
  }
}

void linear_backward(const Tensor& x, const Tensor& weight, const Tensor& y, const Tensor& dy, Float32Products products,
                     const LinearGradients& wanted) {
  const DType parameters = wanted.dweight.defined() ? wanted.dweight.dtype()
                           : wanted.dbias.defined() ? wanted.dbias.dtype()
                                                    : dy.dtype();
  visit_with_parameters("linear", dy.dtype(), parameters, [&]<class T, class P>(Type<T>, Type<P>) {
    backward<T, P>(x, weight, y, dy, products, wanted);
  });
}

const bool registered =
    linear_kernel.add(DeviceKind::cuda, linear) && linear_backward_kernel.add(DeviceKind::cuda, linear_backward);

}  // namespace
}  // namespace weir::cuda
