// The element-wise engine of the CPU: one loop for every op of the form out[i] = f(a[i], b[i], ...), with broadcasting
// and any strides. f is a functor on the accumulation type (float for bf16).
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "core/parallel.h"
#include "core/tensor.h"

namespace weir::cpu {
namespace detail {

// The loop space of N operands: axes merged wherever every operand lies evenly across them; the last is the inner loop.
template <std::size_t N>
struct LoopSpace {
  Shape shape;
  std::array<Strides, N> strides;

  LoopSpace(const Shape& full, const std::array<Strides, N>& all) {
    for (int i = 0; i < full.rank(); ++i) {
      if (full[i] == 1) continue;
      const bool merges = shape.rank() > 0 && [&] {
        for (std::size_t k = 0; k < N; ++k)
          if (strides[k][-1] != all[k][i] * full[i]) return false;
        return true;
      }();
      if (merges) {
        shape[-1] *= full[i];
        for (std::size_t k = 0; k < N; ++k) strides[k][-1] = all[k][i];
      } else {
        shape.push_back(full[i]);
        for (std::size_t k = 0; k < N; ++k) strides[k].push_back(all[k][i]);
      }
    }
    if (shape.rank() == 0) {
      shape.push_back(1);
      for (Strides& s : strides) s.push_back(1);
    }
  }

  std::int64_t offset(std::size_t operand, std::int64_t row) const {
    std::int64_t result = 0;
    for (int i = shape.rank() - 2; i >= 0; --i) {
      result += row % shape[i] * strides[operand][i];
      row /= shape[i];
    }
    return result;
  }
};

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

}  // namespace weir::cpu
