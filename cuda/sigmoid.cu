#include "ops/sigmoid.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool sigmoid_on_gpu = register_unary<Elementwise, sigmoid_op, Sigmoid, SigmoidBackward>();
}  // namespace weir::cuda
