#include "ops/relu.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool relu_on_gpu = register_unary<Elementwise, relu_op, Relu, ReluBackward>();
}  // namespace weir::cuda
