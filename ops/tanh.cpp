#include "ops/tanh.h"

#include <cmath>

#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/multiply.h"
#include "ops/scale.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp tanh_op{
    "tanh", "tanh backward", Keeps::output,
    [](const Tensor& kept, const Tensor& dy, const Tensor& ddx) { return scale(ddx * dy * kept, -2); }};

Tensor tanh(const Tensor& x) { return tanh_op(x); }

const bool tanh_on_cpu = register_unary<cpu::Elementwise, tanh_op>([](auto x) { return cpu::tanh(x); }, TanhBackward{});

const OpRegistration tanh_registration{unary_record({
    .name = "tanh",
    .op = weir::tanh,
    .summary = "the hyperbolic tangent, element by element",
    .formula = [](double x) { return std::tanh(x); },
    .low = -3,
    .high = 3,
})};

}  // namespace weir
