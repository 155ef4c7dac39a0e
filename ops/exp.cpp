#include "ops/exp.h"

#include <cmath>

#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/multiply.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp exp_op{"exp", "exp backward", Keeps::output,
                         [](const Tensor&, const Tensor& dy, const Tensor& ddx) { return ddx * dy; }};

Tensor exp(const Tensor& x) { return exp_op(x); }

const bool exp_on_cpu = register_unary<cpu::Elementwise, exp_op>([](auto x) { return cpu::exp(x); }, ExpBackward{});

const OpRegistration exp_registration{unary_record({
    .name = "exp",
    .op = weir::exp,
    .summary = "e^x, element by element",
    .formula = [](double x) { return std::exp(x); },
})};

}  // namespace weir
