#include "ops/random_integers.h"

#include <fmt/format.h>

#include <cmath>

#include "core/error.h"
#include "core/op_info.h"
#include "core/parallel.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(std::int64_t, const RandomStream&, const Tensor&)> random_integers_kernel{"random_integers"};

Tensor random_integers(const Shape& shape, std::int64_t bound, const RandomStream& random, Device device) {
  if (bound < 1 || bound > 2147483647)
    throw ArgumentError(fmt::format("random_integers: expected 1 <= bound < 2^31, got {}", bound));
  const Tensor y = Tensor::empty(shape, DType::int32, device);
  random_integers_kernel(device, bound, random, y);
  return y;
}

namespace {

void random_integers_cpu(std::int64_t bound, const RandomStream& random, const Tensor& y) {
  const auto out = rows_of<std::int32_t>(y);
  parallel_for(out.rows, grain_for(16 * out.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t c = 0; c < out.cols; ++c) {
        const std::uint64_t bits = random.bits(static_cast<std::uint64_t>(r * out.cols + c));
        out.row(r)[c] = static_cast<std::int32_t>(bits * static_cast<std::uint64_t>(bound) >> 32);
      }
  });
}

const bool on_cpu = random_integers_kernel.add(DeviceKind::cpu, random_integers_cpu);

// The input gives shape and device. The reference scales each draw in long double, where the product is exact.
Sample integers_sample(const std::string& name, const Shape& shape, std::int64_t bound) {
  const RandomStream random{17, 3, 5};
  return {name,
          {random_tensor(shape, 1)},
          [=](std::span<const Tensor> in) {
            return std::vector{random_integers(in[0].shape(), bound, random, in[0].device())};
          },
          [=](std::span<const Tensor> in) {
            std::vector<double> y(static_cast<std::size_t>(in[0].numel()));
            for (std::size_t i = 0; i < y.size(); ++i)
              y[i] = static_cast<double>(
                  std::floor(static_cast<long double>(random.bits(i)) * static_cast<long double>(bound) * 0x1p-32L));
            return std::vector{Tensor::from_values(in[0].shape(), y)};
          }};
}

const OpRegistration registration{{
    .name = "random_integers",
    .source = __FILE__,
    .signature = "random_integers(shape, bound, random)",
    .summary = "independent random integers of [0, bound), a function of the stream",
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const auto& [name, shape] : sample_shapes()) samples.push_back(integers_sample(name, shape, 16));
          samples.push_back(integers_sample("large bound", {3, 5}, 2147483647));
          samples.push_back(integers_sample("bound of one", {5}, 1));
          return samples;
        },
    .large = [] { return integers_sample("large", large_shape(), 16); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{
              {"bound", [] { random_integers({2}, 0, {}); }, "random_integers: expected 1 <= bound < 2^31, got 0"}};
        },
    .differentiable = false,
}};

}  // namespace
}  // namespace weir
