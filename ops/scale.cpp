#include "ops/scale.h"

#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit ScalarOp scale_op{"scale", scale};

Tensor scale(const Tensor& x, double factor) { return scale_op(x, factor); }

const bool scale_on_cpu = register_scalar<cpu::Elementwise, scale_op, Scale>();

const OpRegistration scale_registration{unary_record({
    .name = "scale",
    .op = [](const Tensor& x) { return scale(x, -0.75); },
    .signature = "scale(x, factor)",
    .summary = "x * factor, element by element; factor is a constant",
    .formula = [](double x) { return -0.75 * x; },
})};

}  // namespace weir
