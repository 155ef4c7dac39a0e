#include "ops/silu.h"

#include <cmath>

#include "ops/add.h"
#include "ops/add_scalar.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/multiply.h"
#include "ops/negate.h"
#include "ops/sigmoid.h"
#include "ops/subtract.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp silu_op{"silu", "silu backward", Keeps::input,
                          [](const Tensor& kept, const Tensor& dy, const Tensor& ddx) {
                            const Tensor s = sigmoid(kept), rest = add_scalar(-s, 1);
                            return ddx * dy * s * rest * add_scalar(kept * (rest - s), 2);
                          }};

Tensor silu(const Tensor& x) { return silu_op(x); }

const bool silu_on_cpu = register_unary<cpu::Elementwise, silu_op>(
    [](auto x) { return x * cpu::sigmoid(x); }, [](auto x, auto dy) { return SiluBackward{}(x, dy, cpu::sigmoid(x)); });

const OpRegistration silu_registration{unary_record({
    .name = "silu",
    .op = weir::silu,
    .summary = "x / (1 + e^-x), element by element",
    .formula = [](double x) { return x / (1 + std::exp(-x)); },
    .low = -5,
    .high = 5,
})};

}  // namespace weir
