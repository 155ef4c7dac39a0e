#include "ops/negate.h"

#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit ScalarOp negate_op{"negate", [](const Tensor& dy, double) { return negate(dy); }};

Tensor negate(const Tensor& x) { return negate_op(x, -1); }

const bool negate_on_cpu = register_scalar<cpu::Elementwise, negate_op, Negate>();

const OpRegistration negate_registration{unary_record({
    .name = "negate",
    .op = negate,
    .signature = "negate(x), -x",
    .summary = "-x, element by element",
    .formula = [](double x) { return -x; },
})};

}  // namespace weir
