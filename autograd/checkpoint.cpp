// Activation checkpointing, declared in autograd/autograd.h.
#include <algorithm>

#include "autograd/backward.h"

namespace weir {

std::vector<Tensor> checkpoint(const std::function<std::vector<Tensor>(std::span<const Tensor>)>& block,
                               std::span<const Tensor> inputs) {
  // Without a gradient to pass on there is no call to hang the second run on; leaves inside must still get theirs.
  if (std::none_of(inputs.begin(), inputs.end(), requires_gradient)) return block(inputs);
  std::vector<Tensor> outputs;
  {
    const NoGradient guard;
    // Detached: an input handed through keeps its own record.
    for (const Tensor& y : block(inputs)) outputs.push_back(y.detach());
  }
  const std::vector<Tensor> originals(inputs.begin(), inputs.end());
  Backward back("checkpoint", originals, outputs);
  std::vector<Saved> kept;
  for (const Tensor& t : originals) kept.push_back(back.keep(t));
  back.once_differentiable([block, originals, kept](std::span<const Tensor> dys) {
    for (const Saved& t : kept) t.get();  // refuses one that was written to since
    const GradientMode record(true);
    std::vector<Tensor> copies;
    for (const Tensor& t : originals) {
      copies.push_back(t.detach());
      if (requires_gradient(t)) require_gradient(copies.back());
    }
    const std::vector<Tensor> again = block(copies);
    std::vector<Tensor> used, used_dys;
    for (std::size_t i = 0; i < again.size(); ++i) {
      if (!dys[i].defined() || !requires_gradient(again[i])) continue;
      used.push_back(again[i]);
      used_dys.push_back(dys[i]);
    }
    backward(used, used_dys);
    std::vector<Tensor> dxs(originals.size());
    for (std::size_t i = 0; i < originals.size(); ++i)
      if (requires_gradient(originals[i])) dxs[i] = gradient(copies[i]);
    return dxs;
  });
  return outputs;
}

}  // namespace weir
