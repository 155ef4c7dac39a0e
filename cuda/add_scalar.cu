#include "ops/add_scalar.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool add_scalar_on_gpu = register_scalar<Elementwise, add_scalar_op, AddScalar>();
}  // namespace weir::cuda
