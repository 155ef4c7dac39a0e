#include "ops/relu.h"

#include "ops/cpu/elementwise.h"
#include "ops/support/samples.h"

namespace weir {

constinit UnaryOp relu_op{"relu", "relu backward", Keeps::output};

Tensor relu(const Tensor& x) { return relu_op(x); }

const bool relu_on_cpu = register_unary<cpu::Elementwise, relu_op, Relu, ReluBackward>();

const OpRegistration relu_registration{unary_record({
    .name = "relu",
    .op = relu,
    .summary = "max(x, 0), element by element; the gradient at 0 is 0",
    .formula = [](double x) { return x > 0 ? x : 0; },
    .gap = 0.05,
})};

}  // namespace weir
