#include "ops/rotary.h"

#include <bit>
#include <cmath>

#include "cuda/runtime.h"

namespace weir::cuda {
namespace {

constexpr int kThreads = 256;
// Rows of P elements per thread: its angle costs as much as some of them.
constexpr int kRowsPerThread = 8;

// Where row t of a batch and head begins, and how far apart its elements are.
template <class T>
struct Heads {
  T* data;
  std::int64_t batch_step, position_step, head_step, step;

  explicit Heads(const Tensor& t)
      : data(t.data<std::remove_const_t<T>>()),
        batch_step(t.strides()[0]),
        position_step(t.strides()[1]),
        head_step(t.strides()[2]),
        step(t.strides()[3]) {}

  __device__ T* row(std::int64_t batch, std::int64_t t, std::int64_t head) const {
    return data + batch * batch_step + t * position_step + head * head_step;
  }
};

// Grid (T, groups of batches and heads), threads (pairs, batches and heads): a thread keeps the angle of a pair.
template <class T>
__global__ void __launch_bounds__(kThreads) rotary_rows(Heads<const T> x, Rotation rotation, Heads<T> y,
                                                        std::int64_t rows, std::int64_t heads, std::int64_t pairs) {
  using Value = accumulate_t<T>;
  const std::int64_t t = blockIdx.x, step = std::int64_t{gridDim.y} * blockDim.y;
  for (std::int64_t i = threadIdx.x; i < pairs; i += blockDim.x) {
    const double angle =
        static_cast<double>(rotation.first_position + t) * rotary_frequency(rotation.base, i, 2 * pairs);
    const auto cosine = static_cast<Value>(std::cos(angle)),
               sine = static_cast<Value>(rotation.inverse ? -std::sin(angle) : std::sin(angle));
    for (std::int64_t row = std::int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step) {
      const T* const from = x.row(row / heads, t, row % heads);
      T* const to = y.row(row / heads, t, row % heads);
      const RotaryPair<Value> pair{static_cast<Value>(from[i * x.step]),
                                   static_cast<Value>(from[(i + pairs) * x.step])};
      const RotaryPair<Value> turned = pair.turned(cosine, sine);
      to[i * y.step] = T(turned.first);
      to[(i + pairs) * y.step] = T(turned.second);
    }
  }
}

void rotary(const Tensor& x, const Rotation& rotation, const Tensor& y) {
  if (x.numel() == 0) return;
  const std::int64_t rows = x.size(0) * x.size(2), pairs = x.size(3) / 2;
  const unsigned across = std::bit_ceil(static_cast<unsigned>(std::min<std::int64_t>(pairs, kThreads)));
  const unsigned down = kThreads / across;
  const unsigned groups = std::min(65535u, blocks_for(rows, std::int64_t{down} * kRowsPerThread));
  visit_floating("rotary", x.dtype(), [&]<class T>(Type<T>) {
    launch<rotary_rows<T>>({dim3(static_cast<unsigned>(x.size(1)), groups), dim3(across, down)}, stream_of(x.device()),
                           Heads<const T>(x), rotation, Heads<T>(y), rows, x.size(2), pairs);
  });
}

const bool registered = rotary_kernel.add(DeviceKind::cuda, rotary);

}  // namespace
}  // namespace weir::cuda
