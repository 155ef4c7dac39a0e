#include "ops/adamw_update.h"

#include "core/op_info.h"
#include "core/parallel.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const AdamWState&, const Tensor&, const Tensor&,
                      const AdamWSettings&)>
    adamw_update_kernel{"adamw_update"};

void adamw_update(const Tensor& values, const Tensor& gradients, const AdamWState& state, const Tensor& learning_rate,
                  const Tensor& factor, const AdamWSettings& settings) {
  check_rank("adamw_update", "values", values, 1);
  check_floating("adamw_update", "values", values);
  for (const Tensor* t : {&gradients, &state.first_moment, &state.second_moment}) {
    check_shape("adamw_update", "gradients and moments", *t, values.shape());
    check_same_dtype("adamw_update", values, *t);
  }
  if (values.numel() > 0)
    adamw_update_kernel(values.device(), values, gradients, state, learning_rate, factor, settings);
}

namespace {

constexpr std::int64_t kChunk = 1 << 15;  // elements per item of work

void adamw_update_cpu(const Tensor& values, const Tensor& gradients, const AdamWState& state,
                      const Tensor& learning_rate, const Tensor& factor, const AdamWSettings& settings) {
  double& updates = *state.updates.data<double>();
  const AdamWCoefficients c =
      adamw_coefficients(updates, *learning_rate.data<double>(), *factor.data<double>(), settings);
  if (!c.applies) return;
  ++updates;
  visit_floating("adamw_update", values.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    T *const p = values.data<T>(), *const m = state.first_moment.data<T>(), *const v = state.second_moment.data<T>();
    const T* const gradient = gradients.data<T>();
    parallel_for(values.numel(), kChunk, [&](std::int64_t begin, std::int64_t end) {
      // Copies: what a loop finds through references, its own stores might change, so that it would not be vectorised.
      const auto beta1 = Value(settings.beta1), beta2 = Value(settings.beta2), eps = Value(settings.eps);
      const auto keep = Value(c.keep), rate = Value(c.rate), root = Value(c.root), times = Value(c.factor);
      for (std::int64_t i = begin; i < end; ++i) {
        const Value g = static_cast<Value>(gradient[i]) * times;
        const Value m_new = beta1 * static_cast<Value>(m[i]) + (1 - beta1) * g;
        const Value v_new = beta2 * static_cast<Value>(v[i]) + (1 - beta2) * g * g;
        m[i] = T(m_new);
        v[i] = T(v_new);
        p[i] = T(static_cast<Value>(p[i]) * keep - rate * m_new / (std::sqrt(v_new) * root + eps));
      }
    });
  });
}

const bool on_cpu = adamw_update_kernel.add(DeviceKind::cpu, adamw_update_cpu);

constexpr AdamWSettings kSettings{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1};
constexpr double kUpdates = 2, kLearningRate = 0.125;

Tensor on_device_of(const Tensor& like, double value) { return Tensor::full({}, value, DType::float64, like.device()); }

// values, gradients, first and second moments [N] -> values, moments, updates. The op works in place, on copies here.
Sample update_sample(const std::string& name, std::int64_t n, double factor) {
  return {name,
          {random_tensor({n}, 1), random_tensor({n}, 2), random_tensor({n}, 3), random_tensor({n}, 4, 0.1, 1)},
          [factor](std::span<const Tensor> in) {
            const Tensor values = clone(in[0]);
            const AdamWState state{clone(in[2]), clone(in[3]), on_device_of(values, kUpdates)};
            adamw_update(values, clone(in[1]), state, on_device_of(values, kLearningRate), on_device_of(values, factor),
                         kSettings);
            return std::vector{values, state.first_moment, state.second_moment, state.updates};
          },
          [factor](std::span<const Tensor> in) {
            if (!std::isfinite(factor))
              return std::vector{in[0], in[2], in[3], Tensor::scalar(kUpdates, DType::float64)};
            std::vector<double> p = in[0].values(), m = in[2].values(), v = in[3].values();
            const std::vector<double> g = in[1].values();
            for (std::size_t i = 0; i < p.size(); ++i) {
              p[i] -= kLearningRate * kSettings.weight_decay * p[i];
              m[i] = kSettings.beta1 * m[i] + (1 - kSettings.beta1) * factor * g[i];
              v[i] = kSettings.beta2 * v[i] + (1 - kSettings.beta2) * factor * g[i] * factor * g[i];
              const double m_hat = m[i] / (1 - std::pow(kSettings.beta1, 3)),
                           v_hat = v[i] / (1 - std::pow(kSettings.beta2, 3));
              p[i] -= kLearningRate * m_hat / (std::sqrt(v_hat) + kSettings.eps);
            }
            const Shape& shape = in[0].shape();
            return std::vector{Tensor::from_values(shape, p), Tensor::from_values(shape, m),
                               Tensor::from_values(shape, v),
                               Tensor::scalar(p.empty() ? kUpdates : kUpdates + 1, DType::float64)};
          }};
}

const OpRegistration registration{{
    .name = "adamw_update",
    .source = __FILE__,
    .signature = "adamw_update(values, gradients, state, learning_rate, factor, settings)",
    .summary = "one update of AdamW in place, with gradients times factor; nothing where factor is not finite",
    .samples =
        [] {
          return std::vector<Sample>{update_sample("usual", 64, 0.3),           update_sample("odd", 4133, 1),
                                     update_sample("several chunks", 70001, 1), update_sample("size one", 1, 1),
                                     update_sample("zero size", 0, 1),          update_sample("not finite", 9, NAN)};
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& p, const Shape& g, DType dtype) {
            return [=] {
              const Tensor values = Tensor::zeros(p, DType::float32), one = Tensor::scalar(1, DType::float64);
              adamw_update(values, Tensor::zeros(g, dtype), {clone(values), clone(values), one}, one, one, {});
            };
          };
          return std::vector<BadSample>{
              {"rank", call({2, 3}, {2, 3}, DType::float32),
               "adamw_update: expected values with 1 axes, got shape [2, 3]"},
              {"shapes", call({2}, {3}, DType::float32),
               "adamw_update: expected gradients and moments of shape [2], got [3]"},
              {"dtypes", call({2}, {2}, DType::float64), "adamw_update: expected one dtype on both sides"}};
        },
    .cost =
        [](const Sample& sample) {
          const auto n = static_cast<double>(sample.inputs[0].numel());
          return OpCost{14 * n, 28 * n};  // four read, three written
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
