#include "ops/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/backward.h"
#include "core/error.h"
#include "ops/cpu/exp_row.h"
#include "ops/cpu/math.h"
#include "ops/cpu/reduce.h"
#include "ops/support/check.h"
#include "ops/support/index.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&)> cross_entropy_kernel{
    "cross_entropy"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&)>
    cross_entropy_backward_kernel{"cross_entropy backward"};

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, LogitsAfterwards afterwards) {
  check_floating("cross_entropy", "logits", logits);
  check_index_dtype("cross_entropy", "targets", targets);
  if (logits.rank() == 0) throw ArgumentError("cross_entropy: expected logits with one axis or more, got shape []");
  check_shape("cross_entropy", "targets", targets, logits.shape().without(-1));
  if (targets.numel() == 0)
    throw ArgumentError("cross_entropy: expected at least one target, got shape " + targets.shape().str());
  const DType precise = accumulate_dtype(logits.dtype());
  const Tensor loss = Tensor::empty({}, precise, logits.device());
  const Tensor logsumexp = Tensor::empty({targets.numel()}, precise, logits.device());
  cross_entropy_kernel(logits.device(), logits, targets, loss, logsumexp);
  Backward back("cross_entropy", {logits}, {loss});
  const bool in_place = afterwards == LogitsAfterwards::gradient && is_rows_form(logits);
  back.once_differentiable(
      [logits = back.keep(logits), targets = back.keep(targets), logsumexp, in_place](std::span<const Tensor> dys) {
        const Tensor x = logits.get().detach(), dx = in_place ? x : Tensor::empty_like(x);
        if (in_place) x.bump_version();
        cross_entropy_backward_kernel(x.device(), x, targets.get(), logsumexp, dys[0], dx);
        return std::vector{dx};
      });
  return loss;
}

namespace {

void cross_entropy_cpu(const Tensor& logits, const Tensor& targets, const Tensor& loss, const Tensor& logsumexp) {
  const auto chosen = checked_index("cross_entropy", "targets", targets, logits.size(-1));
  const Tensor dense = rows_form(logits);
  visit_floating("cross_entropy", logits.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto x = rows_of<T>(dense);
    Value* const kept = logsumexp.data<Value>();
    std::vector<double> losses(chosen.size());
    parallel_for(x.rows, grain_for(16 * x.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* const row = x.row(r);
        const Value shift =
            cpu::shift_of(cpu::max_over<Value>(x.cols, [row](std::int64_t c) { return static_cast<Value>(row[c]); }));
        const Value sum =
            cpu::sum_over<Value>(x.cols, [&](std::int64_t c) { return cpu::exp(static_cast<Value>(row[c]) - shift); });
        const double result = static_cast<double>(shift) + std::log(static_cast<double>(sum));
        const auto place = static_cast<std::size_t>(r);
        losses[place] = result - static_cast<double>(static_cast<Value>(row[chosen[place]]));
        kept[r] = static_cast<Value>(result);
      }
    });
    double total = 0;
    for (double each : losses) total += each;
    *loss.data<Value>() = static_cast<Value>(total / static_cast<double>(x.rows));
  });
}

void cross_entropy_backward_cpu(const Tensor& logits, const Tensor& targets, const Tensor& logsumexp,
                                const Tensor& dloss, const Tensor& dlogits) {
  const auto chosen = checked_index("cross_entropy", "targets", targets, logits.size(-1));
  const Tensor dense = rows_form(logits);
  visit_floating("cross_entropy", logits.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto x = rows_of<T>(dense), dx = rows_of<T>(dlogits);
    const Value* const kept = logsumexp.data<Value>();
    const Value scale = *dloss.data<Value>() / static_cast<Value>(x.rows);
    parallel_for(x.rows, grain_for(16 * x.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* const out = dx.row(r);
        if (out != x.row(r)) std::copy_n(x.row(r), x.cols, out);
        const Value shift = kept[r], factor = scale;
        // The target's element apart, so that it is rounded once.
        const std::int64_t target = chosen[static_cast<std::size_t>(r)];
        const T of_target((cpu::exp(static_cast<Value>(out[target]) - shift) - 1) * factor);
        for (std::int64_t c = 0; c < x.cols; ++c) out[c] = T(cpu::exp(static_cast<Value>(out[c]) - shift) * factor);
        out[target] = of_target;
      }
    });
  });
}

const bool on_cpu = cross_entropy_kernel.add(DeviceKind::cpu, cross_entropy_cpu) &&
                    cross_entropy_backward_kernel.add(DeviceKind::cpu, cross_entropy_backward_cpu);

Sample cross_entropy_sample(const std::string& name, const Shape& logits, DType targets, double low = -2,
                            double high = 2) {
  return {name,
          {random_tensor(logits, 71, low, high), random_indices(logits.without(-1), 72, logits[-1], targets)},
          [](std::span<const Tensor> in) { return std::vector{cross_entropy(in[0], in[1])}; },
          [](std::span<const Tensor> in) {
            const std::vector<double> x = in[0].values(), target = in[1].values();
            const auto V = static_cast<std::size_t>(in[0].size(-1));
            double total = 0;
            for (std::size_t r = 0; r < target.size(); ++r) {
              // log(sum of e^(x[v] - x[target])), which stays small enough at the samples' ranges.
              double sum = 0;
              for (std::size_t v = 0; v < V; ++v)
                sum += std::exp(x[r * V + v] - x[r * V + static_cast<std::size_t>(target[r])]);
              total += std::log(sum);
            }
            return std::vector{Tensor::scalar(total / static_cast<double>(target.size()), DType::float64)};
          }};
}

// Masked classes, which are nobody's target.
Sample with_masks() {
  Sample sample = cross_entropy_sample("masked", {3, 4}, DType::int64);
  const double m = -INFINITY;
  sample.inputs = {Tensor::from_values({3, 4}, std::vector<double>{0.5, m, 1, m, m, m, m, 3, -2, 1.5, m, 0.25}),
                   Tensor::from_values({3}, std::vector<double>{2, 3, 0}, DType::int64)};
  return sample;
}

const OpRegistration registration{{
    .name = "cross_entropy",
    .source = __FILE__,
    .signature = "cross_entropy(logits, targets)",
    .summary = "mean of logsumexp(logits [..., V]) - logits at the target, in nats; rank 0, float32 or better",
    .samples =
        [] {
          return std::vector<Sample>{
              cross_entropy_sample("usual", {6, 16}, DType::int64),
              cross_entropy_sample("odd", {3, 5, 7}, DType::int32),
              cross_entropy_sample("bytes", {4, 205}, DType::uint8),
              cross_entropy_sample("many rows", {700, 33}, DType::int64),
              cross_entropy_sample("long row", {3, 2085}, DType::int64),
              cross_entropy_sample("large logits", {5, 9}, DType::int64, 80, 120),
              with_masks(),
              cross_entropy_sample("one row", {5}, DType::int64),
              cross_entropy_sample("one class", {3, 1}, DType::int64),
              cross_entropy_sample("size one", {1, 1}, DType::int64),
          };
        },
    .large =
        [] {
          return cross_entropy_sample("large", {2048, 8000}, DType::int32);
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& logits, const Shape& targets, double target, DType dtype) {
            return [=] { cross_entropy(Tensor::zeros(logits, DType::float32), Tensor::full(targets, target, dtype)); };
          };
          return std::vector<BadSample>{
              {"too large", call({2, 3, 4}, {2, 3}, 4, DType::int64),
               "cross_entropy: targets[0, 0] is 4, expected 0 <= targets < 4"},
              {"negative", call({2, 4}, {2}, -1, DType::int32), "cross_entropy: targets[0] is -1"},
              {"shapes", call({2, 4}, {3}, 0, DType::int64), "cross_entropy: expected targets of shape [2], got [3]"},
              {"zero size", call({0, 4}, {0}, 0, DType::int64), "cross_entropy: expected at least one target"},
              {"rank 0", call({}, {}, 0, DType::int64), "cross_entropy: expected logits with one axis or more"},
              {"floating targets", call({2, 4}, {2}, 0, DType::float32),
               "cross_entropy: expected targets of dtype int64, int32 or uint8, got float32"},
          };
        },
}};

}  // namespace
}  // namespace weir
