#include "ops/keep_top_k.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "autograd/backward.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/kth_largest.h"
#include "ops/support/check.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const Tensor&, std::int64_t, const Tensor&)> keep_top_k_kernel{"keep_top_k"};
constinit Kernel<void(const Tensor&, const Tensor&, const Tensor&)> keep_top_k_backward_kernel{"keep_top_k backward"};

namespace {

// Linear in dy, so its own gradient is the same op again.
Tensor keep_top_k_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = Tensor::empty_like(dy);
  keep_top_k_backward_kernel(dy.device(), y, dy, dx);
  Backward back("keep_top_k backward", {dy}, {dx});
  back.input(0, [y = back.keep(y)](const Tensor& ddx) { return keep_top_k_backward(y.get(), ddx); });
  return dx;
}

}  // namespace

Tensor keep_top_k(const Tensor& x, std::int64_t k) {
  check_floating("keep_top_k", "x", x);
  if (x.rank() == 0) throw ArgumentError("keep_top_k: expected at least 1 axis, got shape []");
  if (k < 1 || k > x.size(-1))
    throw ArgumentError(
        fmt::format("keep_top_k: k must be between 1 and the last extent of shape {}, got {}", x.shape().str(), k));
  Tensor y = Tensor::empty_like(x);
  keep_top_k_kernel(x.device(), x, k, y);
  Backward back("keep_top_k", {x}, {y});
  back.input(0, [y = back.keep(y)](const Tensor& dy) { return keep_top_k_backward(y.get().detach(), dy); });
  return y;
}

namespace {

void keep_top_k_cpu(const Tensor& x, std::int64_t k, const Tensor& y) {
  const Tensor input = rows_form(x);
  visit_floating("keep_top_k", x.dtype(), [&]<class T>(Type<T>) {
    using Key = cpu::OrderKey<T>;
    const auto in = rows_of<T>(input), out = rows_of<T>(y);
    parallel_for(in.rows, grain_for(8 * in.cols), [&](std::int64_t begin, std::int64_t end) {
      std::vector<Key> keys(static_cast<std::size_t>(in.cols));
      for (std::int64_t r = begin; r < end; ++r) {
        const T* const from = in.row(r);
        T* const to = out.row(r);
        std::transform(from, from + in.cols, keys.begin(), cpu::order_key<T>);
        const Key threshold = cpu::kth_largest(keys.data(), in.cols, k);
        for (std::int64_t c = 0; c < in.cols; ++c)
          to[c] = keys[static_cast<std::size_t>(c)] >= threshold ? from[c] : T{};
      }
    });
  });
}

void keep_top_k_backward_cpu(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  visit_floating("keep_top_k", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    cpu::elementwise<T, T, T>(
        dx, [](Value out, Value d) { return out != 0 ? d : Value(0); }, y, dy);
  });
}

const bool on_cpu = keep_top_k_kernel.add(DeviceKind::cpu, keep_top_k_cpu) &&
                    keep_top_k_backward_kernel.add(DeviceKind::cpu, keep_top_k_backward_cpu);

Sample keep_sample(const std::string& name, const Tensor& x, std::int64_t k) {
  return {name,
          {x},
          [k](std::span<const Tensor> in) { return std::vector{keep_top_k(in[0], k)}; },
          [k](std::span<const Tensor> in) {
            std::vector<double> y = in[0].values();
            const auto width = static_cast<std::size_t>(in[0].size(-1));
            for (std::size_t first = 0; first < y.size(); first += width) {
              std::vector<double> sorted(y.data() + first, y.data() + first + width);
              std::sort(sorted.begin(), sorted.end(), std::greater<>());
              for (std::size_t i = first; i < first + width; ++i)
                if (y[i] < sorted[static_cast<std::size_t>(k - 1)]) y[i] = 0;
            }
            return std::vector{Tensor::from_values(in[0].shape(), y)};
          }};
}

const OpRegistration registration{{
    .name = "keep_top_k",
    .source = __FILE__,
    .signature = "keep_top_k(x, k)",
    .summary = "x where it is at least the k-th largest element of its row, else 0; ties all stay",
    .samples =
        [] {
          return std::vector<Sample>{
              keep_sample("usual", random_away_from_zero({9, 64}, 71, 0.01), 8),
              keep_sample("odd", random_away_from_zero({3, 5, 7}, 72, 0.01), 3),
              keep_sample("largest", random_away_from_zero({5, 9}, 73, 0.01), 1),
              keep_sample("all", random_away_from_zero({4, 6}, 74, 0.01), 6),
              keep_sample("positive", random_tensor({4, 33}, 75, 0.1, 1), 20),
              keep_sample("vector", random_away_from_zero({12}, 76, 0.01), 2),
              keep_sample("long row", random_away_from_zero({2, 4133}, 77, 0.01), 128),
              keep_sample("size one", random_away_from_zero({1, 1}, 78), 1),
              keep_sample("zero rows", random_tensor({0, 4}, 79), 2),
          };
        },
    .large =
        [] {
          return keep_sample("large", random_tensor({2048, 2048}, 71), 128);
        },
    .bad_samples =
        [] {
          const auto call = [](const Shape& shape, DType dtype, std::int64_t k) {
            return [=] { keep_top_k(Tensor::zeros(shape, dtype), k); };
          };
          return std::vector<BadSample>{
              {"k 0", call({2, 3}, DType::float32, 0),
               "keep_top_k: k must be between 1 and the last extent of shape [2, 3]"},
              {"k above", call({2, 3}, DType::float32, 4), "shape [2, 3], got 4"},
              {"rank 0", call({}, DType::float32, 1), "keep_top_k: expected at least 1 axis"},
              {"integers", call({3}, DType::int32, 1), "keep_top_k: expected x of a floating dtype, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
