#include "ops/negate.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool negate_on_gpu = register_scalar<Elementwise, negate_op, Negate>();
}  // namespace weir::cuda
