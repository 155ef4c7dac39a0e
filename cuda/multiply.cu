#include "ops/multiply.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool multiply_on_gpu = register_binary<Elementwise, multiply_op, Multiply>();
}  // namespace weir::cuda
