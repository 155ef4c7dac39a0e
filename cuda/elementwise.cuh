// The element-wise engine of the GPU: one kernel for every op of the form out[i] = f(a[i], b[i], ...), with
// broadcasting and any strides. f is a functor on the accumulation type (float for bf16).
//
//   struct Square {
//     __device__ auto operator()(auto x) const { return x * x; }
//   };
//   elementwise<T, T>(y, Square{}, x);
//
// A thread makes one pack: neighbours along the inner axis that fill 16 bytes of the widest operand. Where the operands
// lie evenly and on 16-byte boundaries it loads and stores them at once, else one by one.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "core/dtype.h"
#include "core/loop_space.h"
#include "core/tensor.h"
#include "cuda/pack.cuh"
#include "cuda/runtime.h"

namespace weir::cuda {
namespace detail {

inline constexpr int kElementwiseThreads = 256;

template <class Out, int n, class F, class... In, std::size_t... I>
__device__ void make_pack(Out* out, std::int64_t step, int count, bool vectors, const F& f, std::index_sequence<I...>,
                          const std::int64_t* steps, const In*... in) {
  const auto apply = [&](const Pack<In, n>&... packs) {
    Pack<Out, n> result;
    for (int i = 0; i < n; ++i)
      result.values[i] = static_cast<Out>(f(static_cast<accumulate_t<In>>(packs.values[i])...));
    store_pack(out, step, count, vectors, result);
  };
  apply(load_pack<In, n>(in, steps[I], count, vectors)...);
}

// One pack per thread. Operands are the inputs, then the output.
template <class Out, int n, class F, class... In>
__global__ void elementwise_kernel(Out* out, F f, LoopSpace<sizeof...(In) + 1> space, bool vectors, const In*... in) {
  constexpr std::size_t kInputs = sizeof...(In);
  const std::int64_t cols = space.shape[-1], packs = (cols + n - 1) / n;
  std::int64_t rows = 1;
  for (int axis = 0; axis + 1 < space.shape.rank(); ++axis) rows *= space.shape[axis];
  for (std::int64_t item = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; item < rows * packs;
       item += std::int64_t{gridDim.x} * blockDim.x) {
    const std::int64_t row = item / packs, first = item % packs * n;
    const int count = static_cast<int>(cols - first < n ? cols - first : n);
    [&]<std::size_t... I>(std::index_sequence<I...> indices) {
      const std::int64_t steps[kInputs + 1] = {space.strides[I][-1]..., 0};
      const std::int64_t step = space.strides[kInputs][-1];
      make_pack<Out, n, F, In...>(out + space.offset(kInputs, row) + first * step, step, count, vectors, f, indices,
                                  steps, in + space.offset(I, row) + first * steps[I]...);
    }
    (std::make_index_sequence<kInputs>{});
  }
}

// True where every pack of every operand is one aligned vector or one repeated element.
template <std::size_t N>
bool packs_are_vectors(const LoopSpace<N>& space, const std::array<const void*, N>& places,
                       const std::array<std::size_t, N>& sizes, std::int64_t n) {
  for (std::size_t k = 0; k < N; ++k) {
    const std::int64_t step = space.strides[k][-1];
    if (step == 0 && k + 1 < N) continue;
    if (step != 1 || reinterpret_cast<std::uintptr_t>(places[k]) % (sizes[k] * static_cast<std::size_t>(n)) != 0)
      return false;
    for (int axis = 0; axis + 1 < space.shape.rank(); ++axis)
      if (space.strides[k][axis] % n != 0) return false;
  }
  return true;
}

template <class Out, class... In, class F, std::size_t... I>
void elementwise(const Tensor& out, const F& f, std::index_sequence<I...>,
                 const std::array<Tensor, sizeof...(In)>& inputs) {
  constexpr std::size_t kInputs = sizeof...(In), kWidest = std::max({sizeof(Out), sizeof(In)...});
  constexpr int n = static_cast<int>(16 / kWidest);
  if (out.numel() == 0) return;
  const LoopSpace<kInputs + 1> space(out.shape(), {broadcast_view(inputs[I], out.shape()).strides()..., out.strides()});
  const bool vectors =
      packs_are_vectors<kInputs + 1>(space, {inputs[I].raw()..., out.raw()}, {sizeof(In)..., sizeof(Out)}, n);
  const std::int64_t cols = space.shape[-1], packs = space.shape.product() / cols * ((cols + n - 1) / n);
  launch<elementwise_kernel<Out, n, F, In...>>({blocks_for(packs, kElementwiseThreads), kElementwiseThreads},
                                               stream_of(out.device()), out.data<Out>(), f, space, vectors,
                                               inputs[I].template data<In>()...);
}

}  // namespace detail

// out[i] = f(inputs[i]...), inputs broadcast to out's shape. Out and In... are the element types, in order.
template <class Out, class... In, class F, class... Tensors>
void elementwise(const Tensor& out, const F& f, const Tensors&... inputs) {
  static_assert(sizeof...(In) == sizeof...(Tensors), "one element type per input");
  detail::elementwise<Out, In...>(out, f, std::index_sequence_for<In...>{}, {inputs...});
}

// The engine of the ops in ops/support/elementwise_op.h.
struct Elementwise {
  static constexpr DeviceKind kind = DeviceKind::cuda;
  template <class Out, class... In>
  static void run(const Tensor& out, const auto& f, const auto&... inputs) {
    elementwise<Out, In...>(out, f, inputs...);
  }
};

}  // namespace weir::cuda
