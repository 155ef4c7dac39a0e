// Two stages: each block sums the squares of a fixed stretch, then one block sums the partial sums, all in float64 and
// in an order that depends on the size alone.
#include "ops/global_norm.h"

#include <cmath>

#include "cuda/reduce.cuh"

namespace weir::cuda {
namespace {

constexpr int kThreads = BlockTeam::kBlock;
constexpr std::int64_t kPerBlock = 1 << 15;

template <class T>
__global__ void __launch_bounds__(kThreads) sum_squares(const T* x, std::int64_t n, double* partial) {
  const std::int64_t begin = blockIdx.x * kPerBlock, end = begin + kPerBlock < n ? begin + kPerBlock : n;
  const BlockTeam team;
  double sum = 0;
  for (std::int64_t i = begin + team.index(); i < end; i += kThreads) {
    const auto v = static_cast<double>(x[i]);
    sum += v * v;
  }
  sum = team.reduce(sum, Add{});
  if (team.index() == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) root_of_sum(const double* partial, std::int64_t n, double* norm) {
  const BlockTeam team;
  double sum = 0;
  for (std::int64_t i = team.index(); i < n; i += kThreads) sum += partial[i];
  sum = team.reduce(sum, Add{});
  if (team.index() == 0) *norm = std::sqrt(sum);
}

void global_norm(const Tensor& x, const Tensor& norm) {
  visit_floating("global_norm", x.dtype(), [&]<class T>(Type<T>) {
    if (x.numel() == 0) return fill(norm, 0);
    const Tensor flat = rows_form(x);
    const std::int64_t blocks = (flat.numel() + kPerBlock - 1) / kPerBlock;
    const Tensor partial = Tensor::empty({blocks}, DType::float64, x.device());
    const Stream stream = stream_of(x.device());
    launch<sum_squares<T>>({static_cast<unsigned>(blocks), kThreads}, stream, flat.data<T>(), flat.numel(),
                           partial.data<double>());
    launch<root_of_sum>({1, kThreads}, stream, partial.data<double>(), blocks, norm.data<double>());
  });
}

const bool registered = global_norm_kernel.add(DeviceKind::cuda, global_norm);

}  // namespace
}  // namespace weir::cuda
