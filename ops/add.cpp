#include "ops/add.h"

#include "autograd/backward.h"
#include "ops/cpu/elementwise.h"
#include "ops/sum.h"
#include "ops/support/samples.h"

namespace weir {

constinit BinaryOp add_op{"add"};

Tensor add(const Tensor& a, const Tensor& b) {
  Tensor y = add_op(a, b);
  Backward back("add", {a, b}, {y});
  back.input(0, [shape = a.shape()](const Tensor& dy) { return sum_to_shape(dy, shape); });
  back.input(1, [shape = b.shape()](const Tensor& dy) { return sum_to_shape(dy, shape); });
  return y;
}

const bool add_on_cpu = register_binary<cpu::Elementwise, add_op, Add>();

const OpRegistration add_registration{binary_record({
    .name = "add",
    .op = add,
    .signature = "add(a, b), a + b",
    .summary = "a + b, element by element, with broadcasting",
    .formula = [](double a, double b) { return a + b; },
})};

}  // namespace weir
