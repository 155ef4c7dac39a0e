// Where a step goes wrong: it is made again, and every tensor on the way looked at.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "autograd/observe.h"
#include "models/language_model.h"
#include "train/batch_source.h"
#include "train/data.h"

namespace weir {

// "the first tensor that is not finite is ...": a weight, with its expert; what an op gives, with the parameter it was
// at; or the gradient of a parameter. Where all are finite, which weight is largest. Changes the gradients only.
std::string first_fault(const LanguageModel& model, const Batch& batch, const Memory& memory,
                        const ForwardContext& context);

// For ObserveOps: tells `report` of each tensor that an op gives and that is not finite, as "the output of linear
// (layer0.ff.w1) is nan at ...", or "(in the backward pass)". An op without parameters is at the parameter that was
// used last.
OpObserver report_not_finite(const ParameterSet& parameters, std::function<void(const std::string&)> report);

// "the gradient of layer0.ff.w1 is inf at ..."; nothing where all are finite.
std::optional<std::string> first_bad_gradient(const ParameterSet& parameters);

// WEIR_CHECK_FINITE=1 in the environment: training looks at every tensor as it is made, and ends at the first that is
// not finite.
bool checks_finite();

}  // namespace weir
