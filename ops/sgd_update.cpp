#include "ops/sgd_update.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "core/op_info.h"
#include "core/parallel.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const SgdState&, const Tensor&, const Tensor&, const SgdSettings&)>
    sgd_update_kernel{"sgd_update",
                      [](const Tensor& values, const Tensor& gradients, const SgdState& state, auto... rest) {
                        // What is updated is read and written.
                        return KernelCost{.bytes = bytes_of(values, gradients, state, rest..., values, state.momentum)};
                      }};

void sgd_update(const Tensor& values, const Tensor& gradients, const SgdState& state, const Tensor& learning_rate,
                const Tensor& factor, const SgdSettings& settings) {
  check_rank("sgd_update", "values", values, 1);
  check_floating("sgd_update", "values", values);
  if (state.momentum.defined() != (settings.momentum != 0))
    throw ArgumentError(fmt::format("sgd_update: momentum = {} {}", settings.momentum,
                                    state.momentum.defined() ? "keeps nothing: leave state.momentum undefined"
                                                             : "needs state.momentum, a tensor like the values"));
  for (const Tensor* t : {&gradients, &state.momentum}) {
    if (!t->defined()) continue;
    check_shape("sgd_update", "gradients and momentum", *t, values.shape());
    check_same_dtype("sgd_update", values, *t);
  }
  if (values.numel() == 0) return;
  values.bump_version();
  state.for_each_tensor([](const Tensor& t) {
    if (t.defined()) t.bump_version();
  });
  sgd_update_kernel(values.device(), values, gradients, state, learning_rate, factor, settings);
}

namespace {

constexpr std::int64_t kChunk = kChunkOperations;  // elements per item of work

void sgd_update_cpu(const Tensor& values, const Tensor& gradients, const SgdState& state, const Tensor& learning_rate,
                    const Tensor& factor, const SgdSettings& settings) {
  const double rate = *learning_rate.data<double>(), gradient_factor = *factor.data<double>();
  if (!std::isfinite(gradient_factor)) return;
  if (state.updates.defined()) ++*state.updates.data<double>();
  double* const unsound = state.unsound.defined() ? state.unsound.data<double>() : nullptr;
  visit_floating("sgd_update", values.dtype(), [&]<class T>(Type<T>) {
    T *const p = values.data<T>(), *const b = state.momentum.defined() ? state.momentum.data<T>() : nullptr;
    const T* const gradient = gradients.data<T>();
    parallel_for(values.numel(), kChunk, [&](std::int64_t begin, std::int64_t end) {
      // Made here: what a loop finds through references, its own stores might change, so that it would not be
      // vectorised.
      const SgdElement<accumulate_t<T>> update(settings, rate, gradient_factor);
      SizeBits<accumulate_t<T>> largest = 0;
      if (b != nullptr)
        for (std::int64_t i = begin; i < end; ++i) largest = std::max(largest, update(p[i], gradient[i], b[i]));
      else
        for (std::int64_t i = begin; i < end; ++i) largest = std::max(largest, update(p[i], gradient[i]));
      if (!is_sound<accumulate_t<T>>(largest) && unsound != nullptr)
        std::atomic_ref(*unsound).store(1, std::memory_order_relaxed);
    });
  });
}

const bool on_cpu = sgd_update_kernel.add(DeviceKind::cpu, sgd_update_cpu);

constexpr SgdSettings kSettings{.momentum = 0.8, .nesterov = true, .weight_decay = 0.1};
constexpr double kUpdates = 2, kLearningRate = 0.125;

Tensor on_device_of(const Tensor& like, double value) { return Tensor::full({}, value, DType::float64, like.device()); }

// values and, with momentum, what is kept of it; in long double.
std::vector<Tensor> updated(std::span<const Tensor> in, double factor, const SgdSettings& s) {
  std::vector<double> p = in[0].values(), b = in[2].values();
  const std::vector<double> g = in[1].values();
  for (std::size_t i = 0; i < p.size(); ++i) {
    const long double before = p[i], shrunk = s.decoupled ? before * (1 - kLearningRate * s.weight_decay) : before;
    const long double d = factor * static_cast<long double>(g[i]) + (s.decoupled ? 0 : s.weight_decay * before);
    const long double kept = s.momentum * static_cast<long double>(b[i]) + d;
    const long double step = s.nesterov ? d + s.momentum * kept : s.momentum == 0 ? d : kept;
    if (s.momentum != 0) b[i] = static_cast<double>(kept);
    p[i] = static_cast<double>(shrunk - kLearningRate * step);
  }
  return {Tensor::from_values(in[0].shape(), p), Tensor::from_values(in[0].shape(), b),
          Tensor::scalar(p.empty() ? kUpdates : kUpdates + 1, DType::float64)};
}

// values, gradients, momentum [N] -> values, momentum, updates. The op works in place, on copies here.
Sample update_sample(const std::string& name, std::int64_t n, double factor, const SgdSettings& settings = kSettings) {
  return {name,
          {random_tensor({n}, 1), random_tensor({n}, 2), random_tensor({n}, 3)},
          [factor, settings](std::span<const Tensor> in) {
            const Tensor values = clone(in[0]), momentum = clone(in[2]), updates = on_device_of(values, kUpdates);
            sgd_update(values, clone(in[1]), {settings.momentum != 0 ? momentum : Tensor(), updates},
                       on_device_of(values, kLearningRate), on_device_of(values, factor), settings);
            return std::vector{values, momentum, updates};
          },
          [factor, settings](std::span<const Tensor> in) {
            if (std::isfinite(factor)) return updated(in, factor, settings);
            return std::vector{in[0], in[2], Tensor::scalar(kUpdates, DType::float64)};
          }};
}

// One element of values, gradients or momentum is `poison` -> what `unsound` becomes.
Sample unsound_sample(const std::string& name, std::size_t input, double poison, double unsound,
                      const SgdSettings& settings = kSettings) {
  Sample sample = update_sample(name, 4133, 1, settings);
  std::vector<double> values = sample.inputs[input].values();
  values[4100] = poison;
  sample.inputs[input] = Tensor::from_values({4133}, values, sample.inputs[input].dtype());
  sample.run = [settings](std::span<const Tensor> in) {
    const Tensor p = clone(in[0]), flag = on_device_of(p, 0);
    sgd_update(p, clone(in[1]), {settings.momentum != 0 ? clone(in[2]) : Tensor(), {}, flag},
               on_device_of(p, kLearningRate), on_device_of(p, 1), settings);
    return std::vector{flag};
  };
  sample.reference = [unsound](std::span<const Tensor>) {
    return std::vector{Tensor::scalar(unsound, DType::float64)};
  };
  return sample;
}

std::vector<Sample> unsound_samples() {
  std::vector<Sample> samples = {unsound_sample("sound", 1, 1e11, 0),
                                 unsound_sample("sound, momentum that nobody reads", 2, NAN, 0, {})};
  for (std::size_t input = 0; input < 3; ++input)
    for (const double poison : {double{NAN}, double{INFINITY}, 1e30})
      samples.push_back(unsound_sample(fmt::format("unsound, {} in input {}", poison, input), input, poison, 1));
  samples.push_back(unsound_sample("unsound without momentum", 1, 1e30, 1, {}));
  return samples;
}

const OpRegistration registration{{
    .name = "sgd_update",
    .source = __FILE__,
    .signature = "sgd_update(values, gradients, state, learning_rate, factor, settings)",
    .summary = "one update of SGD in place, with gradients times factor; nothing where factor is not finite",
    .samples =
        [] {
          const SgdSettings plain{.weight_decay = 0.2},
              decoupled{.momentum = 0.9, .weight_decay = 0.2, .decoupled = true};
          std::vector<Sample> samples = {update_sample("usual", 64, 0.3),
                                         update_sample("odd", 4133, 1),
                                         update_sample("several chunks", 70001, 1, decoupled),
                                         update_sample("without momentum", 301, 0.5, plain),
                                         update_sample("decoupled", 33, 1, decoupled),
                                         update_sample("size one", 1, 1),
                                         update_sample("zero size", 0, 1),
                                         update_sample("not finite", 9, NAN)};
          for (Sample& sample : unsound_samples()) samples.push_back(std::move(sample));
          return samples;
        },
    .large = [] { return update_sample("large", 1 << 24, 1); },
    .bad_samples =
        [] {
          const auto call = [](const Shape& p, const Shape& g, DType dtype, bool momentum = true) {
            return [=] {
              const Tensor values = Tensor::zeros(p, DType::float32), one = Tensor::scalar(1, DType::float64);
              sgd_update(values, Tensor::zeros(g, dtype), {momentum ? clone(values) : Tensor(), one}, one, one,
                         kSettings);
            };
          };
          return std::vector<BadSample>{
              {"rank", call({2, 3}, {2, 3}, DType::float32),
               "sgd_update: expected values with 1 axes, got shape [2, 3]"},
              {"shapes", call({2}, {3}, DType::float32),
               "sgd_update: expected gradients and momentum of shape [2], got [3]"},
              {"dtypes", call({2}, {2}, DType::float64), "sgd_update: expected one dtype on both sides"},
              {"no momentum", call({2}, {2}, DType::float32, false),
               "sgd_update: momentum = 0.8 needs state.momentum, a tensor like the values"}};
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
