#include "ops/sqrt.h"

#include <cmath>

#include "ops/cpu/elementwise.h"
#include "ops/divide.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp sqrt_op{
    "sqrt", "sqrt backward", Keeps::output,
    [](const Tensor& kept, const Tensor& dy, const Tensor& ddx) { return -(ddx * sqrt_op.backward(kept, dy) / kept); }};

Tensor sqrt(const Tensor& x) { return sqrt_op(x); }

const bool sqrt_on_cpu = register_unary<cpu::Elementwise, sqrt_op, Sqrt, SqrtBackward>();

const OpRegistration sqrt_registration{unary_record({
    .name = "sqrt",
    .op = weir::sqrt,
    .summary = "the square root, element by element",
    .formula = [](double x) { return std::sqrt(x); },
    .low = 0.25,
    .high = 4,
})};

}  // namespace weir
