// A warp takes a row. It leaves the keys of all logits in shared memory, so that a logit is read and its random number
// drawn once, and then takes the largest key K times; lane k keeps the k-th place and makes its gate. That is less work
// than the bisection of warp_top_k.cuh's warp_collect as long as K is small, as it is here.
#include "ops/route_top_k.h"

#include "cuda/keep.cuh"
#include "cuda/pack.cuh"
#include "cuda/warp_top_k.cuh"
#include "ops/cpu/keep.h"
#include "ops/cpu/rank_key.h"
#include "ops/sigmoid.h"

namespace weir::cuda {
namespace {

constexpr int kDrawn = 4;  // logits of a lane side by side: a Philox block serves them

// Which experts of a row may be chosen freely.
struct ExpertDropout {
  std::uint32_t threshold;  // 0: all
  RandomStream random;

  __device__ unsigned kept_four(std::int64_t first) const {
    return threshold == 0 ? 15u : kept<kDrawn>(random, static_cast<std::uint64_t>(first), threshold);
  }
  __device__ bool keeps(std::int64_t element) const {
    return threshold == 0 || random.bits(static_cast<std::uint64_t>(element)) >> 8 >= threshold;
  }
};

template <class T>
__device__ void write_keys(const Rows<T>& logits, std::int64_t r, const ExpertDropout& dropout, bool vectors,
                           cpu::OrderKey<T>* keys) {
  for (std::int64_t col = warp_lane() * kDrawn; col < logits.cols; col += kWarp * kDrawn) {
    const int count = static_cast<int>(logits.cols - col < kDrawn ? logits.cols - col : kDrawn);
    const auto pack = load_pack<T, kDrawn>(logits.row(r) + col, 1, count, vectors);
    const unsigned kept = dropout.kept_four(r * logits.cols + col);
    for (int i = 0; i < kDrawn; ++i)
      if (i < count) keys[col + i] = cpu::expert_key(pack.values[i], (kept >> i & 1) != 0);
  }
  __syncwarp();
}

template <class T>
__global__ void route_rows(Rows<T> logits, ExpertDropout dropout, Rows<T> gate, Rows<std::int32_t> index, bool vectors,
                           WarpScratch scratch) {
  using Value = accumulate_t<T>;
  auto* const keys = reinterpret_cast<cpu::OrderKey<T>*>(scratch.of_this_warp());
  const int lane = warp_lane(), warp = static_cast<int>(threadIdx.x) / kWarp, experts = static_cast<int>(logits.cols);
  dropout.random = dropout.random.settled();
  for (std::int64_t r = std::int64_t{blockIdx.x} * scratch.warps + warp; r < logits.rows;
       r += std::int64_t{gridDim.x} * scratch.warps) {
    write_keys(logits, r, dropout, vectors, keys);
    for (std::int64_t begin = 0; begin < gate.cols; begin += kWarp) {
      const int count = static_cast<int>(gate.cols - begin < kWarp ? gate.cols - begin : kWarp);
      int mine = 0;
      for (int k = 0; k < count; ++k) {
        const int place = warp_take_largest(keys, experts);
        if (lane == k) mine = place;
      }
      if (lane >= count) continue;
      const Value sigmoid = Sigmoid{}(static_cast<Value>(logits.row(r)[mine]));
      gate.row(r)[begin + lane] = T(sigmoid * Value(dropout.keeps(r * logits.cols + mine) ? 1 : 0));  // NaN stays
      index.row(r)[begin + lane] = mine;
    }
  }
}

// A warp clears a row, then its lanes write the K elements that there are.
template <class T>
__global__ void route_backward_rows(Rows<T> gate, Rows<std::int32_t> index, Rows<T> dgate, Rows<T> dlogits, int warps) {
  using Value = accumulate_t<T>;
  const int lane = warp_lane(), warp = static_cast<int>(threadIdx.x) / kWarp;
  for (std::int64_t r = std::int64_t{blockIdx.x} * warps + warp; r < gate.rows; r += std::int64_t{gridDim.x} * warps) {
    T* const to = dlogits.row(r);
    for (std::int64_t c = lane; c < dlogits.cols; c += kWarp) to[c] = T{};
    __syncwarp();
    for (std::int64_t k = lane; k < gate.cols; k += kWarp)
      to[index.row(r)[k]] =
          T(SigmoidBackward{}(static_cast<Value>(gate.row(r)[k]), static_cast<Value>(dgate.row(r)[k])));
  }
}

void route_top_k(const Tensor& logits, double dropout, const RandomStream& random, const Tensor& gate,
                 const Tensor& index) {
  if (logits.numel() == 0) return;
  const Tensor dense = rows_form(logits);
  visit_floating("route_top_k", logits.dtype(), [&]<class T>(Type<T>) {
    const auto in = rows_of<T>(dense);
    const auto bytes = static_cast<std::int64_t>(sizeof(cpu::OrderKey<T>)) * in.cols;
    const WarpLaunch warps = warp_launch(logits.device(), in.rows, bytes);
    launch<route_rows<T>>(warps.shape, stream_of(logits.device()), in,
                          ExpertDropout{cpu::keep_threshold(dropout), random}, rows_of<T>(gate),
                          rows_of<std::int32_t>(index), rows_hold_packs_of<kDrawn>(in), warps.scratch);
  });
}

void route_top_k_backward(const Tensor& gate, const Tensor& index, const Tensor& dgate, const Tensor& dlogits) {
  if (dlogits.numel() == 0) return;
  const Tensor gates = rows_form(gate), given = rows_form(dgate);
  visit_floating("route_top_k", gate.dtype(), [&]<class T>(Type<T>) {
    const auto out = rows_of<T>(dlogits);
    const WarpLaunch warps = warp_launch(gate.device(), out.rows, 0);
    launch<route_backward_rows<T>>(warps.shape, stream_of(gate.device()), rows_of<T>(gates),
                                   rows_of<std::int32_t>(index), rows_of<T>(given), out, warps.scratch.warps);
  });
}

const bool registered = route_top_k_kernel.add(DeviceKind::cuda, route_top_k) &&
                        route_top_k_backward_kernel.add(DeviceKind::cuda, route_top_k_backward);

}  // namespace
}  // namespace weir::cuda
