#include "ops/log.h"

#include <cmath>

#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/divide.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp log_op{
    "log", "log backward", Keeps::input,
    [](const Tensor& kept, const Tensor& dy, const Tensor& ddx) { return -(ddx * dy / kept / kept); }};

Tensor log(const Tensor& x) { return log_op(x); }

const bool log_on_cpu = register_unary<cpu::Elementwise, log_op>([](auto x) { return cpu::log(x); }, LogBackward{});

const OpRegistration log_registration{unary_record({
    .name = "log",
    .op = weir::log,
    .summary = "ln x, element by element",
    .formula = [](double x) { return std::log(x); },
    .low = 0.25,
    .high = 4,
})};

}  // namespace weir
