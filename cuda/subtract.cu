#include "ops/subtract.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool subtract_on_gpu = register_binary<Elementwise, subtract_op, Subtract>();
}  // namespace weir::cuda
