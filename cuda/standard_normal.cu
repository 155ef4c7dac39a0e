// A thread draws one Philox block, which serves two elements.
#include "ops/standard_normal.h"

#include "cuda/runtime.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void standard_normal_rows(RandomStream random, Rows<T> y) {
  using Value = accumulate_t<T>;
  random = random.settled();
  const std::int64_t count = y.rows * y.cols;
  const auto store = [&](std::int64_t i, double value) {
    if (i < count) y.row(i / y.cols)[i % y.cols] = T(static_cast<Value>(value));
  };
  for (std::int64_t pair = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; 2 * pair < count;
       pair += std::int64_t{gridDim.x} * blockDim.x) {
    const Uint4 bits = random.block(static_cast<std::uint64_t>(pair));
    store(2 * pair, RandomStream::normal_of(bits.x, bits.y));
    store(2 * pair + 1, RandomStream::normal_of(bits.z, bits.w));
  }
}

void standard_normal(const RandomStream& random, const Tensor& y) {
  visit_floating("standard_normal", y.dtype(), [&]<class T>(Type<T>) {
    if (y.numel() == 0) return;
    launch<standard_normal_rows<T>>({blocks_for((y.numel() + 1) / 2, kThreads), kThreads}, stream_of(y.device()),
                                    random, rows_of<T>(y));
  });
}

const bool registered = standard_normal_kernel.add(DeviceKind::cuda, standard_normal);

}  // namespace
}  // namespace weir::cuda
