// Finds the first number among tensors that is none, or infinite.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "core/safetensors.h"
#include "core/tensor.h"

namespace weir {

// "layer1.ff.w1 is nan at [3, 5, 1], in expert 3, and not finite in 12 of 4096 elements"; nothing where all elements of
// `arena` are finite. The tensors are views of it.
std::optional<std::string> first_not_finite(const Tensor& arena, std::span<const NamedTensor> views);

// The same of a single tensor, whatever it is called; nothing where it holds no floating numbers either.
std::optional<std::string> first_not_finite(const std::string& name, const Tensor& tensor);

}  // namespace weir
