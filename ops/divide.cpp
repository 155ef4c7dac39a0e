#include "ops/divide.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/sum.h"
#include "ops/support/samples.h"

namespace weir {

constinit BinaryOp divide_op{"divide"};

Tensor divide(const Tensor& a, const Tensor& b) {
  Tensor y = divide_op(a, b);
  Backward back("divide", {a, b}, {y});
  back.input(0, [b = back.keep(b), shape = a.shape()](const Tensor& dy) { return sum_to_shape(dy / b.get(), shape); });
  back.input(1, [y = back.keep(y), b = back.keep(b), shape = b.shape()](const Tensor& dy) {
    return negate(sum_to_shape(dy * y.get() / b.get(), shape));
  });
  return y;
}

const bool divide_on_cpu = register_binary<cpu::Elementwise, divide_op, Divide>();

const OpRegistration divide_registration{binary_record({
    .name = "divide",
    .op = divide,
    .signature = "divide(a, b), a / b",
    .summary = "a / b, element by element, with broadcasting",
    .formula = [](double a, double b) { return a / b; },
    .gap = 0.5,
})};

}  // namespace weir
