#include "ops/dropout.h"

#include <algorithm>
#include <cmath>

#include "autograd/backward.h"
#include "core/parallel.h"
#include "ops/add.h"
#include "ops/cpu/keep.h"
#include "ops/multiply.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, const Tensor&, double, const RandomStream&, const Tensor&)> dropout_kernel{
    "dropout"};
constinit Kernel<void(double, const RandomStream&, const Tensor&)> keep_mask_kernel{"keep_mask"};

Tensor dropout(const Tensor& x, double p, const RandomStream& random) {
  check_floating("dropout", "x", x);
  check_probability("dropout", p);
  if (p == 0) return x;
  const Tensor y = Tensor::empty_like(x);
  dropout_kernel(x.device(), Tensor(), x, p, random, y);
  Backward back("dropout", {x}, {y});
  back.input(0, [p, random](const Tensor& dy) { return dropout(dy, p, random); });
  return y;
}

Tensor add_dropout(const Tensor& base, const Tensor& x, double p, const RandomStream& random) {
  check_floating("add_dropout", "x", x);
  check_shape("add_dropout", "base", base, x.shape());
  check_same_dtype("add_dropout", base, x);
  check_probability("add_dropout", p);
  if (p == 0) return base + x;
  const Tensor y = Tensor::empty_like(x);
  dropout_kernel(x.device(), base, x, p, random, y);
  Backward back("add_dropout", {base, x}, {y});
  back.input(0, [](const Tensor& dy) { return dy; });
  back.input(1, [p, random](const Tensor& dy) { return dropout(dy, p, random); });
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

void dropout_cpu(const Tensor& base, const Tensor& x, double p, const RandomStream& random, const Tensor& y) {
  const Tensor dense = rows_form(x), dense_base = base.defined() ? rows_form(base) : base;
  visit_floating("dropout", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense), out = rows_of<T>(y);
    const auto under = base.defined() ? rows_of<T>(dense_base) : Rows<T>{};
    const auto scale = static_cast<accumulate_t<T>>(1 / (1 - p));
    for_kept(out.rows, out.cols, p, random,
             [&](std::int64_t row, std::int64_t col, std::int64_t n, const std::uint32_t* keep) {
               if (base.defined())
                 cpu::add_scaled_kept(n, keep, scale, under.row(row) + col, in.row(row) + col, out.row(row) + col);
               else
                 cpu::scale_kept(n, keep, scale, in.row(row) + col, out.row(row) + col);
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

// base + dropout(x).
Sample add_sample(const std::string& name, const Shape& shape, double p) {
  const RandomStream random{91, 2, 1u << 30};
  return {name,
          {random_tensor(shape, 63), random_tensor(shape, 64)},
          [p, random](std::span<const Tensor> in) { return std::vector{add_dropout(in[0], in[1], p, random)}; },
          [p, random](std::span<const Tensor> in) {
            std::vector<double> y = in[0].values();
            const std::vector<double> x = in[1].values();
            for (std::size_t i = 0; i < y.size(); ++i)
              if (static_cast<double>(random.uniform(i)) >= p) y[i] += x[i] / (1 - p);
            return std::vector{Tensor::from_values(in[0].shape(), y)};
          }};
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
    .signature = "dropout(x, p, random), add_dropout(base, x, p, random), keep_mask(shape, p, random, dtype)",
    .summary = "x / (1 - p) where the element's random number is p or more, else 0, or base plus that; the mask is "
               "never stored",
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const auto& [name, shape] : sample_shapes()) samples.push_back(dropout_sample(name, shape, 0.3));
          samples.push_back(dropout_sample("none dropped", {3, 5}, 0));
          samples.push_back(dropout_sample("most dropped", {5, 99}, 0.9));
          samples.push_back(dropout_sample("half, narrow rows", {129, 1, 3}, 0.5));
          samples.push_back(dropout_sample("tiny p", {40, 41}, 1e-9, {1, 0, 0}));
          samples.push_back(add_sample("added", {3, 5, 29}, 0.3));
          samples.push_back(add_sample("added, zero rows", {0, 4}, 0.3));
          samples.push_back(add_sample("added, none dropped", {3, 5}, 0));
          samples.push_back(mask_sample("mask", {7, 33}, 0.4));
          samples.push_back(mask_sample("mask that keeps all", {3, 5}, 0));
          return samples;
        },
    .large = [] { return dropout_sample("large", large_shape(), 0.1); },
    .bad_samples =
        [] {
          const auto call = [](double p, DType dtype) { return [=] { dropout(Tensor::zeros({2}, dtype), p, {}); }; };
          return std::vector<BadSample>{
              {"p of 1", call(1, DType::float32), "dropout: expected a probability p of 0 or more and below 1, got 1"},
              {"negative p", call(-0.1, DType::float32), "dropout: expected a probability p of 0 or more"},
              {"p not a number", call(std::nan(""), DType::float32), "dropout: expected a probability p"},
              {"integers", call(0.5, DType::int32), "dropout: expected x of a floating dtype, got int32"},
              {"base's shape",
               [] { add_dropout(Tensor::zeros({2}, DType::bf16), Tensor::zeros({3}, DType::bf16), 0, {}); },
               "add_dropout: expected base of shape [3], got [2]"},
              {"base's dtype",
               [] { add_dropout(Tensor::zeros({2}, DType::bf16), Tensor::zeros({2}, DType::float32), 0, {}); },
               "add_dropout: expected one dtype on both sides, got bf16 and float32"},
              {"added", [] { add_dropout(Tensor::zeros({2}, DType::bf16), Tensor::zeros({2}, DType::bf16), 1, {}); },
               "add_dropout: expected a probability p of 0 or more and below 1, got 1"},
              {"mask", [] { keep_mask({2}, 1.5, {}, DType::float32); }, "keep_mask: expected a probability p"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
