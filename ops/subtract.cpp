#include "ops/subtract.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/negate.h"
#include "ops/sum.h"
#include "ops/support/samples.h"

namespace weir {

constinit BinaryOp subtract_op{"subtract"};

Tensor subtract(const Tensor& a, const Tensor& b) {
  Tensor y = subtract_op(a, b);
  Backward back("subtract", {a, b}, {y});
  back.input(0, [shape = a.shape()](const Tensor& dy) { return sum_to_shape(dy, shape); });
  back.input(1, [shape = b.shape()](const Tensor& dy) { return negate(sum_to_shape(dy, shape)); });
  return y;
}

const bool subtract_on_cpu = register_binary<cpu::Elementwise, subtract_op, Subtract>();

const OpRegistration subtract_registration{binary_record({
    .name = "subtract",
    .op = subtract,
    .signature = "subtract(a, b), a - b",
    .summary = "a - b, element by element, with broadcasting",
    .formula = [](double a, double b) { return a - b; },
})};

}  // namespace weir
