#include "ops/sign.h"

#include "cuda/elementwise.cuh"

namespace weir::cuda {
const bool sign_on_gpu = register_unary<Elementwise, sign_op, Sign, SignBackward>();
}  // namespace weir::cuda
