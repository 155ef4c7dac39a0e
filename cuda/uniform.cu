// Four neighbours are one block of Philox, so a thread makes four elements.
#include "ops/uniform.h"

#include "cuda/runtime.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void uniform_rows(UniformRange range, RandomStream random, Rows<T> y) {
  using Value = accumulate_t<T>;
  random = random.settled();
  const std::int64_t count = y.rows * y.cols;
  for (std::int64_t quad = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; 4 * quad < count;
       quad += std::int64_t{gridDim.x} * kThreads) {
    const Uint4 block = random.block(static_cast<std::uint64_t>(quad));
    const std::uint32_t bits[4] = {block.x, block.y, block.z, block.w};
    for (int j = 0; j < 4; ++j)
      if (const std::int64_t i = 4 * quad + j; i < count)
        y.row(i / y.cols)[i % y.cols] = T(static_cast<Value>(range(bits[j] >> 8)));
  }
}

void uniform(const UniformRange& range, const RandomStream& random, const Tensor& y) {
  visit_floating("uniform", y.dtype(), [&]<class T>(Type<T>) {
    if (y.numel() == 0) return;
    launch<uniform_rows<T>>({blocks_for(y.numel(), 4 * kThreads), kThreads}, stream_of(y.device()), range, random,
                            rows_of<T>(y));
  });
}

const bool registered = uniform_kernel.add(DeviceKind::cuda, uniform);

}  // namespace
}  // namespace weir::cuda
