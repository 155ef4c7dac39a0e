#include "ops/keep_top_k.h"

#include "cuda/elementwise.cuh"
#include "cuda/warp_top_k.cuh"
#include "ops/cpu/kth_largest.h"

namespace weir::cuda {
namespace {

template <class T>
__global__ void keep_rows(Rows<T> x, std::int64_t k, Rows<T> y, int warps) {
  using Key = cpu::OrderKey<T>;
  const int cols = static_cast<int>(x.cols), warp = static_cast<int>(threadIdx.x) / kWarp;
  for (std::int64_t r = std::int64_t{blockIdx.x} * warps + warp; r < x.rows; r += std::int64_t{gridDim.x} * warps) {
    const T* const from = x.row(r);
    T* const to = y.row(r);
    const Key threshold =
        warp_kth_largest<Key>(cols, static_cast<int>(k), [&](int i) { return cpu::order_key(from[i]); });
    for (int c = warp_lane(); c < cols; c += kWarp) to[c] = cpu::order_key(from[c]) >= threshold ? from[c] : T{};
  }
}

void keep_top_k(const Tensor& x, std::int64_t k, const Tensor& y) {
  if (x.numel() == 0) return;
  const Tensor input = rows_form(x);
  visit_floating("keep_top_k", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(input);
    const WarpLaunch warps = warp_launch(x.device(), in.rows, 0);
    launch<keep_rows<T>>(warps.shape, stream_of(x.device()), in, k, rows_of<T>(y), warps.scratch.warps);
  });
}

struct KeepBackward {
  template <class Value>
  __device__ Value operator()(Value y, Value dy) const {
    return y != 0 ? dy : Value(0);
  }
};

void keep_top_k_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  visit_floating("keep_top_k", y.dtype(), [&]<class T>(Type<T>) { elementwise<T, T, T>(dx, KeepBackward{}, y, dy); });
}

const bool registered = keep_top_k_kernel.add(DeviceKind::cuda, keep_top_k) &&
                        keep_top_k_backward_kernel.add(DeviceKind::cuda, keep_top_k_backward);

}  // namespace
}  // namespace weir::cuda
