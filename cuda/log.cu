#include "ops/log.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool log_on_gpu = register_unary<Elementwise, log_op, Log, LogBackward>();
}  // namespace weir::cuda
