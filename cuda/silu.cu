#include "ops/silu.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool silu_on_gpu = register_unary<Elementwise, silu_op, Silu, SiluBackward>();
}  // namespace weir::cuda
