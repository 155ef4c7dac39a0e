#include "ops/sqrt.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool sqrt_on_gpu = register_unary<Elementwise, sqrt_op, Sqrt, SqrtBackward>();
}  // namespace weir::cuda
