#include "ops/gelu.h"

#include <cmath>

#include "ops/add_scalar.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/exp.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/scale.h"
#include "ops/square.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp gelu_op{"gelu", "gelu backward", Keeps::input,
                          [](const Tensor& kept, const Tensor& dy, const Tensor& ddx) {
                            const Tensor density = scale(exp(scale(square(kept), -0.5)), kDensityAtZero);
                            return ddx * dy * density * add_scalar(-square(kept), 2);
                          }};

Tensor gelu(const Tensor& x) { return gelu_op(x); }

const bool gelu_on_cpu = register_unary<cpu::Elementwise, gelu_op>(
    [](auto x) { return Gelu{}(x, cpu::erf(x * decltype(x)(kHalfRoot))); },
    [](auto x, auto dy) { return GeluBackward{}(x, dy, cpu::erf(x * decltype(x)(kHalfRoot)), cpu::exp(-x * x / 2)); });

const OpRegistration gelu_registration{unary_record({
    .name = "gelu",
    .op = weir::gelu,
    .summary = "x (1 + erf(x / sqrt 2)) / 2, element by element",
    .formula = [](double x) { return x * std::erfc(-x * std::sqrt(0.5)) / 2; },
    .low = -4,
    .high = 4,
})};

}  // namespace weir
