#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "ops/cpu/reduce.h"

namespace weir {
namespace {

constexpr std::int64_t kChunk = 1 << 15;  // elements per item of work

}  // namespace

double gradient_norm(const ParameterSet& parameters) {
  const Tensor& gradients = parameters.gradients();
  std::vector<double> partial(static_cast<std::size_t>((gradients.numel() + kChunk - 1) / kChunk));
  visit_floating("gradient norm", gradients.dtype(), [&]<class T>(Type<T>) {
    const T* const g = gradients.data<T>();
    parallel_for(gradients.numel(), kChunk, [&](std::int64_t begin, std::int64_t end) {
      partial[static_cast<std::size_t>(begin / kChunk)] = cpu::sum_over<double>(end - begin, [&](std::int64_t i) {
        const auto v = static_cast<double>(g[begin + i]);
        return v * v;
      });
    });
  });
  double sum = 0;
  for (double p : partial) sum += p;
  return std::sqrt(sum);
}

double clip_factor(double norm, double clip) { return clip > 0 ? std::min(1.0, clip / (norm + 1e-6)) : 1.0; }

AdamW::AdamW(const ParameterSet& parameters, Settings settings)
    : parameters_(parameters),
      settings_(settings),
      m_(Tensor::zeros_like(parameters.values())),
      v_(Tensor::zeros_like(parameters.values())) {}

void AdamW::step(double lr, double gradient_factor) {
  ++updates_;
  const auto t = static_cast<double>(updates_);
  const double correction1 = 1 - std::pow(settings_.beta1, t), correction2 = 1 - std::pow(settings_.beta2, t);
  visit_floating("AdamW", m_.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto beta1 = Value(settings_.beta1), beta2 = Value(settings_.beta2), eps = Value(settings_.eps);
    const auto keep = Value(1 - lr * settings_.weight_decay), rate = Value(lr / correction1);
    const auto root = Value(1 / std::sqrt(correction2)), factor = Value(gradient_factor);
    T *const p = parameters_.values().data<T>(), *const m = m_.data<T>(), *const v = v_.data<T>();
    const T* const gradient = parameters_.gradients().data<T>();
    parallel_for(m_.numel(), kChunk, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Value g = static_cast<Value>(gradient[i]) * factor;
        const Value m_new = beta1 * static_cast<Value>(m[i]) + (1 - beta1) * g;
        const Value v_new = beta2 * static_cast<Value>(v[i]) + (1 - beta2) * g * g;
        m[i] = T(m_new);
        v[i] = T(v_new);
        p[i] = T(static_cast<Value>(p[i]) * keep - rate * m_new / (std::sqrt(v_new) * root + eps));
      }
    });
  });
}

}  // namespace weir
