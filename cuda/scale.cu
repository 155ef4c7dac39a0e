#include "ops/scale.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool scale_on_gpu = register_scalar<Elementwise, scale_op, Scale>();
}  // namespace weir::cuda
