#include "ops/sign.h"

#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp sign_op{"sign", "sign backward", Keeps::input};

Tensor sign(const Tensor& x) { return sign_op(x); }

const bool sign_on_cpu = register_unary<cpu::Elementwise, sign_op, Sign, SignBackward>();

const OpRegistration sign_registration{unary_record({
    .name = "sign",
    .op = sign,
    .summary = "1 where x is above 0, -1 where it is below, 0 at 0, element by element",
    .formula = [](double x) -> double { return (x > 0) - (x < 0); },
    .gap = 0.05,
})};

}  // namespace weir
