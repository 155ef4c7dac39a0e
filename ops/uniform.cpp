#include "ops/uniform.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/op_info.h"
#include "core/parallel.h"
#include "ops/cpu/keep.h"
#include "ops/multiply.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const UniformRange&, const RandomStream&, const Tensor&)> uniform_kernel{"uniform"};

namespace {

// The largest number of type T below `value`, which is of that type.
template <class T>
double number_before(double value) {
  if constexpr (std::is_same_v<T, bf16>) {
    if (value == 0) return -static_cast<double>(std::bit_cast<float>(0x00010000u));
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
    return static_cast<double>(std::bit_cast<float>(value > 0 ? bits - 0x10000u : bits + 0x10000u));
  } else {
    return static_cast<double>(std::nextafter(static_cast<T>(value), -std::numeric_limits<T>::infinity()));
  }
}

}  // namespace

UniformRange uniform_range(double low, double high, DType dtype) {
  return visit_floating("uniform", dtype, [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto rounded = [](double v) { return static_cast<double>(T(static_cast<Value>(v))); };
    const double first = rounded(low), end = rounded(high);
    if (!(first < end && std::isfinite(end - first)))
      throw ArgumentError(fmt::format("uniform: expected low < high, both finite and apart in {}, got {} and {}",
                                      dtype_name(dtype), low, high));
    return UniformRange{first, (end - first) * 0x1p-24, number_before<T>(end)};
  });
}

Tensor uniform(const Shape& shape, double low, double high, const RandomStream& random, DType dtype, Device device) {
  const UniformRange range = uniform_range(low, high, dtype);
  const Tensor y = Tensor::empty(shape, dtype, device);
  uniform_kernel(device, range, random, y);
  return y;
}

namespace {

// A group of random bits goes to as many rows as it reaches.
void uniform_cpu(const UniformRange& range, const RandomStream& random, const Tensor& y) {
  visit_floating("uniform", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto out = rows_of<T>(y);
    const std::int64_t count = out.rows * out.cols, groups = (count + cpu::kPhiloxGroup - 1) / cpu::kPhiloxGroup;
    parallel_for(groups, grain_for(8 * cpu::kPhiloxGroup), [&](std::int64_t begin, std::int64_t end) {
      std::uint32_t bits[cpu::kPhiloxGroup];
      for (std::int64_t g = begin; g < end; ++g) {
        const std::int64_t first = g * cpu::kPhiloxGroup, n = std::min<std::int64_t>(cpu::kPhiloxGroup, count - first);
        cpu::philox_group(random, static_cast<std::uint64_t>(first), bits);
        for (std::int64_t i = 0, row = first / out.cols, col = first % out.cols; i < n; ++row, col = 0) {
          const std::int64_t piece = std::min(n - i, out.cols - col);
          T* const to = out.row(row) + col;
          for (std::int64_t j = 0; j < piece; ++j) to[j] = T(static_cast<Value>(range(bits[i + j])));
          i += piece;
        }
      }
    });
  });
}

const bool on_cpu = uniform_kernel.add(DeviceKind::cpu, uniform_cpu);

// x times the noise; the reference asks the stream for one value at a time.
Sample uniform_sample(const std::string& name, const Shape& shape, double low, double high) {
  const RandomStream random{92, 6, 17};
  return {name,
          {random_tensor(shape, 64)},
          [=](std::span<const Tensor> in) {
            return std::vector{in[0] * uniform(in[0].shape(), low, high, random, in[0].dtype(), in[0].device())};
          },
          [=](std::span<const Tensor> in) {
            std::vector<double> y = in[0].values();
            for (std::size_t i = 0; i < y.size(); ++i) {
              const auto u = static_cast<long double>(random.uniform(i));
              y[i] = static_cast<double>(y[i] * ((1 - u) * low + u * high));
            }
            return std::vector{Tensor::from_values(in[0].shape(), y)};
          }};
}

const OpRegistration registration{{
    .name = "uniform",
    .source = __FILE__,
    .signature = "uniform(shape, low, high, random, dtype)",
    .summary = "independent random numbers, uniform in [low, high), a function of the stream",
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const auto& [name, shape] : sample_shapes()) samples.push_back(uniform_sample(name, shape, 0, 1));
          samples.push_back(uniform_sample("several chunks", {31, 367}, -0.3, 0.7));
          samples.push_back(uniform_sample("narrow rows", {301, 3}, -5, -2));
          return samples;
        },
    .large = [] { return uniform_sample("large", large_shape(), 0, 1); },
    .bad_samples =
        [] {
          const auto call = [](double low, double high, DType dtype) {
            return [=] { uniform({2}, low, high, {}, dtype); };
          };
          return std::vector<BadSample>{
              {"integers", call(0, 1, DType::int32), "uniform: expected dtype float64, float32 or bf16, got int32"},
              {"order", call(1, 1, DType::float32),
               "uniform: expected low < high, both finite and apart in float32, got 1 and 1"},
              {"too near", call(1, 1.001, DType::bf16), "both finite and apart in bf16, got 1 and 1.001"},
              {"too large", call(0, 1e39, DType::float32), "both finite and apart in float32, got 0 and 1e+39"},
              {"too wide", call(-1e308, 1e308, DType::float64), "both finite and apart in float64"},
              {"not a number", call(0, NAN, DType::float32), "both finite and apart in float32, got 0 and nan"},
          };
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
