#include "ops/support/elementwise_op.h"

#include "autograd/backward.h"
#include "ops/support/check.h"

namespace weir {

Tensor UnaryOp::operator()(const Tensor& x) const {
  Tensor y = Tensor::empty_like(x);
  forward_kernel(x.device(), x, y);
  Backward back(name, {x}, {y});
  back.input(0, [this, kept = back.keep(keeps == Keeps::input ? x : y)](const Tensor& dy) {
    return backward(kept.get(), dy);
  });
  return y;
}

Tensor UnaryOp::backward(const Tensor& kept, const Tensor& dy) const {
  Tensor dx = Tensor::empty_like(dy);
  backward_kernel(dy.device(), kept, dy, dx);
  const Tensor held = second == nullptr ? kept.detach() : kept;
  Backward back(backward_name, {held, dy}, {dx});
  back.input(0, [this, held = back.keep(held), dy = back.keep(dy)](const Tensor& ddx) {
    return second(held.get(), dy.get(), ddx);
  });
  back.input(1, [this, held = back.keep(held)](const Tensor& ddx) { return backward(held.get(), ddx); });
  return dx;
}

Tensor ScalarOp::operator()(const Tensor& x, double constant) const {
  Tensor y = Tensor::empty_like(x);
  kernel(x.device(), x, constant, y);
  Backward back(name, {x}, {y});
  back.input(0, [this, constant](const Tensor& dy) { return gradient(dy, constant); });
  return y;
}

Tensor BinaryOp::operator()(const Tensor& a, const Tensor& b) const {
  check_same_dtype(name, a, b);
  Tensor y = Tensor::empty(broadcast_shapes(name, a.shape(), b.shape()), a.dtype(), a.device());
  kernel(a.device(), a, b, y);
  return y;
}

}  // namespace weir
