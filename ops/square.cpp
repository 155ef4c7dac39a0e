#include "ops/square.h"

#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp square_op{
    "square", "square backward", Keeps::input,
    [](const Tensor&, const Tensor& dy, const Tensor& ddx) { return square_op.backward(dy, ddx); }};

Tensor square(const Tensor& x) { return square_op(x); }

const bool square_on_cpu = register_unary<cpu::Elementwise, square_op, Square, SquareBackward>();

const OpRegistration square_registration{unary_record({
    .name = "square",
    .op = square,
    .summary = "x * x, element by element",
    .formula = [](double x) { return x * x; },
})};

}  // namespace weir
