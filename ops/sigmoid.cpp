#include "ops/sigmoid.h"

#include <cmath>

#include "ops/add_scalar.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/math.h"
#include "ops/multiply.h"
#include "ops/scale.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp sigmoid_op{
    "sigmoid", "sigmoid backward", Keeps::output,
    [](const Tensor& kept, const Tensor& dy, const Tensor& ddx) { return ddx * dy * add_scalar(scale(kept, -2), 1); }};

Tensor sigmoid(const Tensor& x) { return sigmoid_op(x); }

const bool sigmoid_on_cpu =
    register_unary<cpu::Elementwise, sigmoid_op>([](auto x) { return cpu::sigmoid(x); }, SigmoidBackward{});

const OpRegistration sigmoid_registration{unary_record({
    .name = "sigmoid",
    .op = weir::sigmoid,
    .summary = "1 / (1 + e^-x), element by element",
    .formula = [](double x) { return 1 / (1 + std::exp(-x)); },
    .low = -5,
    .high = 5,
})};

}  // namespace weir
