#include "train/optimizer.h"

namespace weir {

AdamW::AdamW(const ParameterSet& parameters, Settings settings)
    : parameters_(parameters),
      settings_(settings),
      state_{Tensor::zeros_like(parameters.values()), Tensor::zeros_like(parameters.values()),
             Tensor::zeros({}, DType::float64, parameters.values().device()),
             Tensor::zeros({}, DType::float64, parameters.values().device())} {}

void AdamW::step(const Tensor& learning_rate, const Tensor& factor) {
  adamw_update(parameters_.values(), parameters_.gradients(), state_, learning_rate, factor, settings_);
}

void AdamW::forget() {
  fill(state_.first_moment, 0);
  fill(state_.second_moment, 0);
  set_updates(0);
}

void AdamW::step(double learning_rate, double factor) {
  const Device device = parameters_.values().device();
  step(Tensor::full({}, learning_rate, DType::float64, device), Tensor::full({}, factor, DType::float64, device));
}

}  // namespace weir
