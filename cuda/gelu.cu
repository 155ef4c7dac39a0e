#include "ops/gelu.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool gelu_on_gpu = register_unary<Elementwise, gelu_op, Gelu, GeluBackward>();
}  // namespace weir::cuda
