#include "ops/adamw_update.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "core/op_info.h"
#include "core/parallel.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const AdamWState&, const Tensor&, const Tensor&,
                      const AdamWSettings&)>
    adamw_update_kernel{
        "adamw_update", [](const Tensor& values, const Tensor& gradients, const AdamWState& state, auto... rest) {
          // What is updated is read and written.
          return KernelCost{
              .bytes = bytes_of(values, gradients, state, rest..., values, state.first_moment, state.second_moment)};
        }};

void adamw_update(const Tensor& values, const Tensor& gradients, const AdamWState& state, const Tensor& learning_rate,
                  const Tensor& factor, const AdamWSettings& settings) {
  check_rank("adamw_update", "values", values, 1);
  check_floating("adamw_update", "values", values);
  for (const Tensor* t : {&gradients, &state.first_moment, &state.second_moment}) {
    check_shape("adamw_update", "gradients and moments", *t, values.shape());
    check_same_dtype("adamw_update", values, *t);
  }
  if (values.numel() == 0) return;
  values.bump_version();
  state.for_each_tensor([](const Tensor& t) {
    if (t.defined()) t.bump_version();
  });
  adamw_update_kernel(values.device(), values, gradients, state, learning_rate, factor, settings);
}

namespace {

constexpr std::int64_t kChunk = kChunkOperations;  // elements per item of work

void adamw_update_cpu(const Tensor& values, const Tensor& gradients, const AdamWState& state,
                      const Tensor& learning_rate, const Tensor& factor, const AdamWSettings& settings) {
  double& updates = *state.updates.data<double>();
  const AdamWCoefficients c =
      adamw_coefficients(updates, *learning_rate.data<double>(), *factor.data<double>(), settings);
  if (!c.applies) return;
  ++updates;
  double* const unsound = state.unsound.defined() ? state.unsound.data<double>() : nullptr;
  visit_floating("adamw_update", values.dtype(), [&]<class T>(Type<T>) {
    T *const p = values.data<T>(), *const m = state.first_moment.data<T>(), *const v = state.second_moment.data<T>();
    const T* const gradient = gradients.data<T>();
    parallel_for(values.numel(), kChunk, [&](std::int64_t begin, std::int64_t end) {
      // Made here: what a loop finds through references, its own stores might change, so that it would not be
      // vectorised.
      const AdamWElement<accumulate_t<T>> update(settings, c);
      SizeBits<accumulate_t<T>> largest = 0;
      for (std::int64_t i = begin; i < end; ++i) largest = std::max(largest, update(p[i], gradient[i], m[i], v[i]));
      if (!is_sound<accumulate_t<T>>(largest) && unsound != nullptr)
        std::atomic_ref(*unsound).store(1, std::memory_order_relaxed);
    });
  });
}

const bool on_cpu = adamw_update_kernel.add(DeviceKind::cpu, adamw_update_cpu);

constexpr AdamWSettings kSettings{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1};
constexpr double kUpdates = 2, kLearningRate = 0.125;

Tensor on_device_of(const Tensor& like, double value) { return Tensor::full({}, value, DType::float64, like.device()); }

// values, gradients, first and second moments [N] -> values, moments, updates. The op works in place, on copies here.
Sample update_sample(const std::string& name, std::int64_t n, double factor,
                     const AdamWSettings& settings = kSettings) {
  return {name,
          {random_tensor({n}, 1), random_tensor({n}, 2), random_tensor({n}, 3), random_tensor({n}, 4, 0.1, 1)},
          [factor, settings](std::span<const Tensor> in) {
            const Tensor values = clone(in[0]);
            const AdamWState state{clone(in[2]), clone(in[3]), on_device_of(values, kUpdates)};
            adamw_update(values, clone(in[1]), state, on_device_of(values, kLearningRate), on_device_of(values, factor),
                         settings);
            return std::vector{values, state.first_moment, state.second_moment, state.updates};
          },
          [factor, settings](std::span<const Tensor> in) {
            if (!std::isfinite(factor))
              return std::vector{in[0], in[2], in[3], Tensor::scalar(kUpdates, DType::float64)};
            std::vector<double> p = in[0].values(), m = in[2].values(), v = in[3].values();
            const std::vector<double> g = in[1].values();
            const long double beta1 = settings.beta1, beta2 = settings.beta2, lr = kLearningRate;
            for (std::size_t i = 0; i < p.size(); ++i) {
              const long double x = factor * static_cast<long double>(g[i]), m_new = beta1 * m[i] + (1 - beta1) * x,
                                v_new = beta2 * v[i] + (1 - beta2) * x * x, m_hat = m_new / (1 - beta1 * beta1 * beta1),
                                v_hat = v_new / (1 - beta2 * beta2 * beta2);
              m[i] = static_cast<double>(m_new);
              v[i] = static_cast<double>(v_new);
              p[i] = static_cast<double>(p[i] - lr * settings.weight_decay * p[i] -
                                         lr * m_hat / (std::sqrt(v_hat) + settings.eps));
            }
            const Shape& shape = in[0].shape();
            return std::vector{Tensor::from_values(shape, p), Tensor::from_values(shape, m),
                               Tensor::from_values(shape, v),
                               Tensor::scalar(p.empty() ? kUpdates : kUpdates + 1, DType::float64)};
          }};
}

// One element of values, gradients or moments is `poison` -> what `unsound` becomes.
Sample unsound_sample(const std::string& name, std::size_t input, double poison, double unsound) {
  Sample sample = update_sample(name, 4133, 1);
  std::vector<double> values = sample.inputs[input].values();
  values[4100] = poison;
  sample.inputs[input] = Tensor::from_values({4133}, values, sample.inputs[input].dtype());
  sample.run = [](std::span<const Tensor> in) {
    const Tensor p = clone(in[0]);
    const AdamWState state{clone(in[2]), clone(in[3]), on_device_of(p, kUpdates), on_device_of(p, 0)};
    adamw_update(p, clone(in[1]), state, on_device_of(p, kLearningRate), on_device_of(p, 1), kSettings);
    return std::vector{state.unsound};
  };
  sample.reference = [unsound](std::span<const Tensor>) {
    return std::vector{Tensor::scalar(unsound, DType::float64)};
  };
  return sample;
}

std::vector<Sample> unsound_samples() {
  std::vector<Sample> samples = {unsound_sample("sound", 1, 1e11, 0)};
  for (std::size_t input = 0; input < 4; ++input)
    for (const double poison : {double{NAN}, double{INFINITY}, 1e30})
      samples.push_back(unsound_sample(fmt::format("unsound, {} in input {}", poison, input), input, poison, 1));
  return samples;
}

const OpRegistration registration{{
    .name = "adamw_update",
    .source = __FILE__,
    .signature = "adamw_update(values, gradients, state, learning_rate, factor, settings)",
    .summary = "one update of AdamW in place, with gradients times factor; nothing where factor is not finite",
    .samples =
        [] {
          const AdamWSettings long_memory{.beta1 = 0.99999, .beta2 = 0.9999999, .eps = 1e-3, .weight_decay = 1e-6};
          const AdamWSettings no_memory{.beta1 = 0, .beta2 = 0.3, .eps = 1e-3};
          std::vector<Sample> samples = {update_sample("usual", 64, 0.3),
                                         update_sample("odd", 4133, 1),
                                         update_sample("several chunks", 70001, 1),
                                         update_sample("long memory", 301, 3000, long_memory),
                                         update_sample("no memory", 33, 1, no_memory),
                                         update_sample("size one", 1, 1),
                                         update_sample("zero size", 0, 1),
                                         update_sample("not finite", 9, NAN)};
          for (Sample& sample : unsound_samples()) samples.push_back(std::move(sample));
          return samples;
        },
    .large = [] { return update_sample("large", 1 << 24, 1); },
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
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
