// Four neighbours are one block of Philox, so a thread makes four elements.
#include "ops/random_integers.h"

#include "cuda/runtime.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void random_integers_kernel_of(std::uint64_t bound, RandomStream random, Rows<std::int32_t> y) {
  random = random.settled();
  const std::int64_t count = y.rows * y.cols;
  for (std::int64_t quad = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; 4 * quad < count;
       quad += std::int64_t{gridDim.x} * kThreads) {
    const Uint4 block = random.block(static_cast<std::uint64_t>(quad));
    const std::uint32_t bits[4] = {block.x, block.y, block.z, block.w};
    for (int j = 0; j < 4; ++j)
      if (const std::int64_t i = 4 * quad + j; i < count)
        y.data[i / y.cols * y.stride + i % y.cols] = static_cast<std::int32_t>(bits[j] * bound >> 32);
  }
}

void random_integers(std::int64_t bound, const RandomStream& random, const Tensor& y) {
  if (y.numel() == 0) return;
  launch<random_integers_kernel_of>({blocks_for(y.numel(), 4 * kThreads), kThreads}, stream_of(y.device()),
                                    static_cast<std::uint64_t>(bound), random, rows_of<std::int32_t>(y));
}

const bool registered = random_integers_kernel.add(DeviceKind::cuda, random_integers);

}  // namespace
}  // namespace weir::cuda
