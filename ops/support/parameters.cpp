#include "ops/support/parameters.h"

#include <fmt/format.h>

#include "core/error.h"

namespace weir {

void check_parameter(const char* op, const char* argument, const Tensor& parameter, DType activations) {
  const bool mixed = activations == DType::bf16 && parameter.dtype() == DType::float32;
  if (parameter.dtype() != activations && !mixed)
    throw ArgumentError(
        fmt::format("{}: expected {} of dtype {}{} beside {} activations, got {}; convert one with cast()", op,
                    argument, dtype_name(activations), activations == DType::bf16 ? " or float32" : "",
                    dtype_name(activations), dtype_name(parameter.dtype())));
}

}  // namespace weir
