#include "ops/top_k.h"

#include "cuda/row_scatter.cuh"
#include "cuda/take_in_rows.cuh"
#include "cuda/warp_top_k.cuh"
#include "ops/cpu/rank_key.h"

namespace weir::cuda {
namespace {

template <class T>
__global__ void top_k_rows(Rows<T> x, Rows<T> values, Rows<std::int32_t> indices, WarpScratch scratch) {
  using Key = cpu::OrderKey<T>;
  auto* const list = reinterpret_cast<Candidate<Key>*>(scratch.of_this_warp());
  const int k = static_cast<int>(values.cols), warp = static_cast<int>(threadIdx.x) / kWarp;
  for (std::int64_t r = std::int64_t{blockIdx.x} * scratch.warps + warp; r < x.rows;
       r += std::int64_t{gridDim.x} * scratch.warps) {
    const T* const row = x.row(r);
    warp_collect<Key>(
        static_cast<int>(x.cols), k, [&](int i) { return cpu::rank_key(row[i]); }, list);
    warp_rank(list, k, k, [&](int rank, const Candidate<Key>& chosen) {
      values.row(r)[rank] = row[chosen.id];
      indices.row(r)[rank] = chosen.id;
    });
  }
}

void top_k(const Tensor& x, const Tensor& values, const Tensor& indices) {
  if (x.numel() == 0) return;
  const Tensor input = rows_form(x);
  visit_floating("top_k", x.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(input), out = rows_of<T>(values);
    const auto bytes = static_cast<std::int64_t>(sizeof(Candidate<cpu::OrderKey<T>>)) * out.cols;
    const WarpLaunch warps = warp_launch(x.device(), in.rows, bytes);
    launch<top_k_rows<T>>(warps.shape, stream_of(x.device()), in, out, rows_of<std::int32_t>(indices), warps.scratch);
  });
}

void top_k_scatter(const Tensor& dvalues, const Tensor& indices, const Tensor& dx) {
  visit_floating("top_k", dx.dtype(),
                 [&]<class T>(Type<T>) { scatter_in_rows<T, std::int32_t>(dvalues, indices, dx); });
}

void top_k_gather(const Tensor& dx, const Tensor& indices, const Tensor& dvalues) {
  visit_floating("top_k", dx.dtype(),
                 [&]<class T>(Type<T>) { take_in_rows<T, std::int32_t>("top_k", dx, indices, dvalues); });
}

const bool registered = top_k_kernel.add(DeviceKind::cuda, top_k) &&
                        top_k_scatter_kernel.add(DeviceKind::cuda, top_k_scatter) &&
                        top_k_gather_kernel.add(DeviceKind::cuda, top_k_gather);

}  // namespace
}  // namespace weir::cuda
