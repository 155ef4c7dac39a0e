#include "ops/add_scalar.h"

#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit ScalarOp add_scalar_op{"add_scalar", [](const Tensor& dy, double) { return dy; }};

Tensor add_scalar(const Tensor& x, double term) { return add_scalar_op(x, term); }

const bool add_scalar_on_cpu = register_scalar<cpu::Elementwise, add_scalar_op, AddScalar>();

const OpRegistration add_scalar_registration{unary_record({
    .name = "add_scalar",
    .op = [](const Tensor& x) { return add_scalar(x, -0.75); },
    .signature = "add_scalar(x, term)",
    .summary = "x + term, element by element; term is a constant",
    .formula = [](double x) { return x - 0.75; },
})};

}  // namespace weir
