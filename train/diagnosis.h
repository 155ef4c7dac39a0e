// Where a step goes wrong: it is made again, and every tensor on the way looked at.
#pragma once

#include <string>

#include "models/transformer_xl.h"
#include "train/data.h"

namespace weir {

// "the first tensor that is not finite is ...": a weight, with its expert; what an op gives, with the parameter it was
// at; or the gradient of a parameter. Where all are finite, which weight is largest. Changes the gradients only.
std::string first_fault(const TransformerXl& model, const Batch& batch, const Memory& memory,
                        const ForwardContext& context);

}  // namespace weir
