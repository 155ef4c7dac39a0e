#include "ops/add.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool add_on_gpu = register_binary<Elementwise, add_op, Add>();
}  // namespace weir::cuda
