#include "ops/standard_normal.h"

#include "core/error.h"
#include "core/op_info.h"
#include "core/parallel.h"
#include "ops/multiply.h"
#include "ops/support/samples.h"

namespace weir {

constinit Kernel<void(const RandomStream&, const Tensor&)> standard_normal_kernel{"standard_normal"};

Tensor standard_normal(const Shape& shape, const RandomStream& random, DType dtype, Device device) {
  const Tensor y = Tensor::empty(shape, dtype, device);
  standard_normal_kernel(device, random, y);
  return y;
}

namespace {

// One block of random bits serves two elements.
void standard_normal_cpu(const RandomStream& random, const Tensor& y) {
  visit_floating("standard_normal", y.dtype(), [&]<class T>(Type<T>) {
    using Value = accumulate_t<T>;
    const auto out = rows_of<T>(y);
    const std::int64_t count = out.rows * out.cols;
    const auto store = [&](std::int64_t i, double value) {
      if (i < count) out.row(i / out.cols)[i % out.cols] = T(static_cast<Value>(value));
    };
    parallel_for((count + 1) / 2, grain_for(128), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t pair = begin; pair < end; ++pair) {
        const Uint4 bits = random.block(static_cast<std::uint64_t>(pair));
        store(2 * pair, RandomStream::normal_of(bits.x, bits.y));
        store(2 * pair + 1, RandomStream::normal_of(bits.z, bits.w));
      }
    });
  });
}

const bool on_cpu = standard_normal_kernel.add(DeviceKind::cpu, standard_normal_cpu);

// x times the noise; the reference asks the stream for one value at a time.
Sample normal_sample(const std::string& name, const Shape& shape) {
  const RandomStream random{91, 6, 17};
  return {name,
          {random_tensor(shape, 63)},
          [random](std::span<const Tensor> in) {
            return std::vector{in[0] * standard_normal(in[0].shape(), random, in[0].dtype(), in[0].device())};
          },
          [random](std::span<const Tensor> in) {
            std::vector<double> y = in[0].values();
            for (std::size_t i = 0; i < y.size(); ++i) y[i] *= random.normal(i);
            return std::vector{Tensor::from_values(in[0].shape(), y)};
          }};
}

const OpRegistration registration{{
    .name = "standard_normal",
    .source = __FILE__,
    .signature = "standard_normal(shape, random, dtype)",
    .summary = "independent normal random numbers of mean 0 and standard deviation 1, a function of the stream",
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const auto& [name, shape] : sample_shapes()) samples.push_back(normal_sample(name, shape));
          samples.push_back(normal_sample("several chunks", {31, 67}));
          return samples;
        },
    .large = [] { return normal_sample("large", large_shape()); },
    .bad_samples =
        [] {
          return std::vector<BadSample>{{"integers", [] { standard_normal({2}, {}, DType::int32); },
                                         "standard_normal: expected dtype float64, float32 or bf16, got int32"}};
        },
    .twice_differentiable = true,
}};

}  // namespace
}  // namespace weir
