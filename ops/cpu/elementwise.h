// The element-wise engine of the CPU: one loop for every op of the form out[i] = f(a[i], b[i], ...), with broadcasting
// and any strides. f is a functor on the accumulation type (float for bf16).
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "core/gradient_mode.h"
#include "core/loop_space.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace weir::cpu {
namespace detail {

template <class Out, class F, class... In, std::size_t... I>
void run_block(Out* out, std::int64_t out_step, std::int64_t n, const F& f, std::index_sequence<I...>,
               const std::array<std::int64_t, sizeof...(In)>& steps, const In*... in) {
  if (out_step == 1 && ((steps[I] == 1) && ...)) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = Out(f(static_cast<accumulate_t<In>>(in[i])...));
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i * out_step] = Out(f(static_cast<accumulate_t<In>>(in[i * steps[I]])...));
  }
}

template <class Out, class... In, class F, std::size_t... I>
void elementwise(const Tensor& out, const F& f, std::index_sequence<I...> indices,
                 const std::array<Tensor, sizeof...(In)>& inputs) {
  constexpr std::size_t kInputs = sizeof...(In);
  constexpr std::int64_t kBlock = 4096;  // elements of the inner loop that one item of work takes
  if (out.numel() == 0) return;
  const NoGradient guard;
  const LoopSpace<kInputs + 1> space(out.shape(), {broadcast_view(inputs[I], out.shape()).strides()..., out.strides()});
  const std::int64_t cols = space.shape[-1], rows = space.shape.product() / cols;
  const std::int64_t blocks = (cols + kBlock - 1) / kBlock;
  const std::array<std::int64_t, kInputs> steps{space.strides[I][-1]...};
  const std::int64_t out_step = space.strides[kInputs][-1];
  Out* const target = out.data<Out>();
  parallel_for(rows * blocks, grain_for(std::min(cols, kBlock)), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item / blocks, first = item % blocks * kBlock, n = std::min(kBlock, cols - first);
      run_block<Out, F, In...>(target + space.offset(kInputs, row) + first * out_step, out_step, n, f, indices, steps,
                               inputs[I].template data<In>() + space.offset(I, row) + first * steps[I]...);
    }
  });
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
  static constexpr DeviceKind kind = DeviceKind::cpu;
  template <class Out, class... In>
  static void run(const Tensor& out, const auto& f, const auto&... inputs) {
    elementwise<Out, In...>(out, f, inputs...);
  }
};

}  // namespace weir::cpu
