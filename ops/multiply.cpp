#include "ops/multiply.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/sum.h"
#include "ops/support/samples.h"

namespace weir {

constinit BinaryOp multiply_op{"multiply"};

Tensor multiply(const Tensor& a, const Tensor& b) {
  Tensor y = multiply_op(a, b);
  Backward back("multiply", {a, b}, {y});
  back.input(0, [b = back.keep(b), shape = a.shape()](const Tensor& dy) { return sum_to_shape(dy * b.get(), shape); });
  back.input(1, [a = back.keep(a), shape = b.shape()](const Tensor& dy) { return sum_to_shape(dy * a.get(), shape); });
  return y;
}

const bool multiply_on_cpu = register_binary<cpu::Elementwise, multiply_op, Multiply>();

const OpRegistration multiply_registration{binary_record({
    .name = "multiply",
    .op = multiply,
    .signature = "multiply(a, b), a * b",
    .summary = "a * b, element by element, with broadcasting",
    .formula = [](double a, double b) { return a * b; },
})};

}  // namespace weir
