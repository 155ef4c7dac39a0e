#include "ops/dropout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/cpu/keep.h"
#include "ops/multiply.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, double, const RandomStream&, const Tensor&)> dropout_kernel{"dropout"};
constinit Kernel<void(double, const RandomStream&, const Tensor&)> keep_mask_kernel{"keep_mask"};

namespace {

void check_probability(const char* op, double p) {
  if (!(p >= 0 && p < 1))
    throw ArgumentError(fmt::format("{}: expected a probability p of 0 or more and below 1, got {}", op, p));
}

}  // namespace

Tensor dropout(const Tensor& x, double p, const RandomStream& random) {
  check_floating("dropout", "x", x);
  check_probability("dropout", p);
  if (p == 0) return x;
  const Tensor y = Tensor::empty_like(x);
  dropout_kernel(x.device(), x, p, random, y);
  Backward back("dropout", {x}, {y});
  back.input(0, [p, random](const Tensor& dy) { return dropout(dy, p, random); });
  return y;
}

Tensor keep_mask(const Shape& shape, double p, const RandomStream& random, DType dtype, Device device) {
  check_probability("keep_mask", p);
  const Tensor mask = Tensor::empty(shape, dtype, device);
  keep_mask_kernel(device, p, random, mask);
  return mask;
}

namespace {

// Calls piece(row, col, n, keep) for pieces that cover a matrix, none across the end of a row; keep[i] != 0 where
// element (row, col + i) is kept. Groups of random values run on across the ends of rows, so none is computed twice.
template <class F>
void for_kept(std::int64_t rows, std::int64_t cols, double p, const RandomStream& random, F&& piece) {
  constexpr int kGroup = cpu::kPhiloxGroup;
  const std::uint32_t threshold = cpu::keep_threshold(p);
  const std::int64_t count = rows * cols;
  parallel_for((count + kGroup - 1) / kGroup, grain_for(4 * kGroup), [&](std::int64_t begin, std::int64_t end) {
    std::uint32_t bits[kGroup], keep[kGroup];
    for (std::int64_t group = begin; group < end; ++group) {
      std::int64_t element = group * kGroup;
      cpu::philox_group(random, static_cast<std::uint64_t>(element), bits);
      for (int i = 0; i < kGroup; ++i) keep[i] = bits[i] >= threshold ? 1 : 0;
      const std::int64_t stop = std::min(count, element + kGroup);
      const std::uint32_t* at = keep;
      while (element < stop) {
        const std::int64_t row = element / cols, col = element % cols, n = std::min(stop - element, cols - col);
        piece(row, col, n, at);
        element += n, at += n;
      }
    }
  });
}

void dropout_cpu(const Tensor& x, double p, const RandomStream& random, const Tensor& y) {
  const Tensor dense = rows_form(x);
  visit_floating("dropout", x.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    const auto scale = static_cast<Value>(1 / (1 - p));
    for_kept(out.rows, out.cols, p, random,
             [&](std::int64_t row, std::int64_t col, std::int64_t n, const std::uint32_t* keep) {
               const T* const from = in.row(row) + col;
               T* const to = out.row(row) + col;
               for (std::int64_t i = 0; i < n; ++i)
                 to[i] = T(keep[i] != 0 ? static_cast<Value>(from[i]) * scale : Value(0));
             });
  });
}

void keep_mask_cpu(double p, const RandomStream& random, const Tensor& mask) {
  visit_any(mask.dtype(), [&]<class T>(Type<T>) {
    const auto out = rows_of<T>(mask);
    for_kept(out.rows, out.cols, p, random,
             [&](std::int64_t row, std::int64_t col, std::int64_t n, const std::uint32_t* keep) {
               T* const to = out.row(row) + col;
               for (std::int64_t i = 0; i < n; ++i) to[i] = keep[i] != 0 ? T(1.0f) : T(0.0f);
             });
  });
}

const bool on_cpu =
    dropout_kernel.add(DeviceKind::cpu, dropout_cpu) && keep_mask_kernel.add(DeviceKind::cpu, keep_mask_cpu);

// The reference asks the stream for one value at a time; kept elements are multiplied by `scale`.
TensorFunction reference(double p, const RandomStream& random, double scale) {
  return [=](std::span<const Tensor> in) {
    std::vector<double> y = in[0].values();
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<double>(random.uniform(i)) >= p ? y[i] * scale : 0;
    return std::vector{Tensor::from_values(in[0].shape(), y)};
  };
}

Sample dropout_sample(const std::string& name, const Shape& shape, double p,
                      const RandomStream& random = {0x123456789abcdef0u, 5, 9}) {
  return {name,
          {random_tensor(shape, 61)},
          [p, random](std::span<const Tensor> in) { return std::vector{dropout(in[0], p, random)}; },
          reference(p, random, 1 / (1 - p))};
}

// x times its mask.
Sample mask_sample(const std::string& name, const Shape& shape, double p) {
  const RandomStream random{77, 1u << 31, 4};
  return {name,
          {random_tensor(shape, 62)},
          [p, random](std::span<const Tensor> in) {
            return std::vector{in[0] * keep_mask(in[0].shape(), p, random, in[0].dtype(), in[0].device())};
          },
          reference(p, random, 1)};
}

const OpRegistration registration{{
    .name = "dropout",
    .source = __FILE__,
    .signature = "dropout(x, p, random), keep_mask(shape, p, random, dtype)",
    .summary = "x / (1 - p) where the element's random number is p or more, else 0; the mask is never stored",
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const auto& [name, shape] : sample_shapes()) samples.push_back(dropout_sample(name, shape, 0.3));
          samples.push_back(dropout_sample("none dropped", {3, 5}, 0));
          samples.push_back(dropout_sample("most dropped", {5, 99}, 0.9));
          samples.push_back(dropout_sample("half, narrow rows", {129, 1, 3}, 0.5));
          samples.push_back(dropout_sample("tiny p", {40, 41}, 1e-9, {1, 0, 0}));
          samples.push_back(mask_sample("mask", {7, 33}, 0.4));
          samples.push_back(mask_sample("mask that keeps all", {3, 5}, 0));
          return samples;
        },
    .bad_samples =
        [] {
          const auto call = [](double p, DType dtype) { return [=] { dropout(Tensor::zeros({2}, dtype), p, {}); }; };
          return std::vector<BadSample>{
              {"p of 1", call(1, DType::float32), "dropout: expected a probability p of 0 or more and below 1, got 1"},
              {"negative p", call(-0.1, DType::float32), "dropout: expected a probability p of 0 or more"},
              {"p not a number", call(std::nan(""), DType::float32), "dropout: expected a probability p"},
              {"integers", call(0.5, DType::int32), "dropout: expected x of a floating dtype, got int32"},
              {"mask", [] { keep_mask({2}, 1.5, {}, DType::float32); }, "keep_mask: expected a probability p"},
          };
        },
    .cost = elementwise_cost(1),
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
